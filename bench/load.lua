-- wrk's side of the bench: the varied requests, and the figures as one line of JSON.
-- BENCH_REQUESTS names a file of requests, each as its length in bytes, a line end, and its bytes. They are
-- rendered beforehand so that wrk's own work per request stays small. Without it wrk repeats its one request, which
-- posts BENCH_BODY bytes where that is not 0. BENCH_ADDRESSES: as many clients, one after the other from BENCH_FIRST on,
-- in X-Forwarded-For.

local file = os.getenv("BENCH_REQUESTS")
local size, addresses = tonumber(os.getenv("BENCH_BODY")) or 0, tonumber(os.getenv("BENCH_ADDRESSES")) or 0

if size > 0 then
   wrk.method, wrk.body = "POST", string.rep("x", size)
   wrk.headers["Content-Type"] = "application/octet-stream"
end

if addresses > 0 then
   local number, before, after = tonumber(os.getenv("BENCH_FIRST")) or 0, nil, nil
   request = function()
      if not before then
         wrk.headers["X-Forwarded-For"] = "@@"
         before, after = string.match(wrk.format(), "^(.*)@@(.*)$")
      end
      number = (number + 1) % addresses
      local low = number % 65536
      local address = string.format("127.%d.%d.%d", 1 + (number - low) / 65536, (low - low % 256) / 256, low % 256)
      return before .. address .. after
   end
end

if file then
   local requests, count, last = {}, 0, 0
   local handle = assert(io.open(file, "rb"))
   local size = handle:read("*n")
   while size do
      handle:read(1)
      count = count + 1
      requests[count] = handle:read(size)
      size = handle:read("*n")
   end
   handle:close()

   request = function()
      last = last % count + 1
      return requests[last]
   end
end

done = function(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\nBENCH {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "faults": {"status": %d, ' ..
      '"connect": %d, "read": %d, "write": %d, "timeout": %d}}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
      errors.connect, errors.read, errors.write, errors.timeout))
end
