-- The decision of the bench's work, for gateways that run Lua (nginx, Envoy): tables in, a status or a key out.
-- Law: knows neither gateway. tables: keys by name (account, id, scopes, held, network), needs by method and path, and the
-- places of parameters, all written by tables.py.

return function(tables)
   local keys, needs, patterns = tables.keys, tables.needs, {}
   for _, place in ipairs(tables.places) do
      patterns[#patterns + 1] = "^(" .. string.rep("/[^/]+", place - 1) .. "/)[^/]+"
   end

   local function find(method, path)
      local found = needs[method .. path]
      for i = 1, #patterns do
         if found then return found end
         found = needs[method .. string.gsub(path, patterns[i], "%1*")]
      end
      return found
   end

   local function number(address)
      local a, b, c, d = string.match(address, "^(%d+)%.(%d+)%.(%d+)%.(%d+)")
      return a and ((a * 256 + b) * 256 + c) * 256 + d
   end

   -- address: dotted, whatever follows it; name: what the table of keys knows a key by. A status to refuse with, or nil and
   -- the key.
   return function(method, path, address, name)
      local key = name and keys[name]
      if not key then return 401 end
      local who = number(address)
      if not who or who < key.first or who > key.last then return 403 end
      local need = find(method, path)
      if not need then return 404 end
      for i = 1, #need do
         if not key.held[need[i]] then return 403 end
      end
      return nil, key
   end
end
