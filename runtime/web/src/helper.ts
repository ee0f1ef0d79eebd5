/** A worker that draws beside others: helper.js, which Threads.helper starts. */

import { type HelperExports, type HelperStart, SYSTEM } from "./helpers.ts";

/** What is left above a helper's stack for its thread-local variables. */
const MOST_TLS = 4096;

onmessage = async ({ data }: MessageEvent<HelperStart>) => {
  const { module, memory, top } = data;
  try {
    const imports = { wasi_snapshot_preview1: SYSTEM, env: { memory } };
    const exports = (await WebAssembly.instantiate(module, imports)).exports as unknown as HelperExports;
    const size = Number(exports.__tls_size.value);
    if (size > MOST_TLS) throw new Error(`its variables take ${size} bytes, ${MOST_TLS} at most`);
    exports.__stack_pointer.value = top;
    exports.__wasm_init_tls(top);
    postMessage(null);
    exports.hz_web_help(); // waits there for work until the worker is ended
  } catch (error) {
    postMessage(String((error as Error).message ?? error));
  }
};
