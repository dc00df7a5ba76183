// One step of a workflow: adds its number to a document in JSON, and the sum of its records.
//
//   node step.mjs NUMBER            the document on standard input, the answer on standard output
//   node step.mjs NUMBER --worker   one {"id", "payload"} per line, answered in the same form

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const number = Number(process.argv[2]);

function handle(document) {
  document.steps.push(number);
  document.total += document.records.reduce((sum, record) => sum + record.amount, 0);
  return document;
}

if (process.argv[3] === "--worker") {
  createInterface({ input: process.stdin }).on("line", (line) => {
    const { id, payload } = JSON.parse(line);
    process.stdout.write(JSON.stringify({ id, payload: handle(payload) }) + "\n");
  });
} else {
  process.stdout.write(JSON.stringify(handle(JSON.parse(readFileSync(0, "utf8")))));
}
