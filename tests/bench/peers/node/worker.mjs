// Loads a handler once and serves it: `node worker.mjs HANDLER PORT`, forked by `reload.mjs`.

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const [handler, port] = process.argv.slice(2);
const { handle } = await import(pathToFileURL(handler));

const server = createServer((request, response) => {
  const page = handle(request);
  response.writeHead(200, {
    "content-type": "text/html; charset=utf-8",
    "content-length": Buffer.byteLength(page),
  });
  response.end(page);
});
server.listen(Number(port), "127.0.0.1", () => process.send({ port: server.address().port }));
// Without its parent, nobody could end it.
process.on("disconnect", () => process.exit());
