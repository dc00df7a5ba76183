// Restarts its worker when the handler's file changes, as bots and plugin tools of today do.
//
//   node reload.mjs HANDLER [--debounce MS]
//
// This process owns nothing but the worker, which listens: at first on any free port, then on the
// same one again.

import { fork } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { debounce: { type: "string", default: "500" } },
});
const handler = resolve(positionals[0]);
const debounce = Number(values.debounce);
let worker;
let port = 0;
let timer;
let isRestarting = false;
let hasChangedAgain = false;

function start() {
  worker = fork(new URL("worker.mjs", import.meta.url), [handler, String(port)]);
  worker.once("message", (message) => {
    if (port === 0) {
      port = message.port;
      console.error(`listening on http://127.0.0.1:${port}`);
    }
  });
}

async function restart() {
  if (isRestarting) {
    hasChangedAgain = true;
    return;
  }
  isRestarting = true;
  do {
    hasChangedAgain = false;
    if (worker.exitCode === null && worker.signalCode === null) {
      const ended = once(worker, "exit");
      worker.kill();
      await ended;
    }
    start();
  } while (hasChangedAgain);
  isRestarting = false;
}

// The directory, because an editor's rename gives the path another file.
watch(dirname(handler), (_, name) => {
  if (name === basename(handler)) {
    clearTimeout(timer);
    timer = setTimeout(restart, debounce);
  }
});
start();
