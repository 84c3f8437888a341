// One of the official JavaScript clients, asked line by line: a JSON object in, a JSON object out.
// Arguments: its directory, "callback" or "axios" (how it is called), the base path. Keys come in the lines only.
"use strict";

const readline = require("node:readline");

const [, , directory, kind, base] = process.argv;
const library = require(directory);

// Lists and single look-ups take options before the callback.
const WITH_OPTIONS = /Get$|Delete$/;

function callback({ api, method, args, key }) {
  const client = new library.ApiClient(base);
  client.authentications.apikey.apiKey = key;
  const given = WITH_OPTIONS.test(method) ? [...args, {}] : args;
  return new Promise((resolve) => {
    new library[api](client)[method](...given, (error, data, response) => {
      if (error && error.response) resolve({ status: error.status, error: JSON.parse(error.response.text) });
      else if (error) resolve({ status: 0, error: String(error) });
      else resolve({ status: response.status, data });
    });
  });
}

async function axios({ api, method, args, key }) {
  const configuration = new library.Configuration({ apiKey: key, basePath: base });
  try {
    const { status, data } = await new library[api](configuration)[method](...args);
    return { status, data };
  } catch (error) {
    if (!error.response) return { status: 0, error: String(error) };
    return { status: error.response.status, error: error.response.data };
  }
}

async function main() {
  const call = { callback, axios }[kind];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await call(JSON.parse(line)))}\n`);
  }
}

main();
