/** The threads that draw beside the first: workers in one memory (runtime/web/wasm/helpers.cpp). */

import { UnsupportedError } from "./errors.ts";

/** The C library asks for these to say why it ends; it never does so in a call that returns. */
const unanswered = () => 52; // ENOSYS
export const SYSTEM = { fd_close: unanswered, fd_seek: unanswered, fd_write: unanswered };

const STACK_BYTES = 2 ** 20;
const ALIGNMENT = 64;

/** What a helper is started with. */
export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** The end of its stack, which grows down, and above that its thread-local variables. */
  readonly top: number;
}

export interface Helpers {
  readonly count: number;
  end(): void;
}

export interface HelperExports {
  __stack_pointer: WebAssembly.Global;
  __tls_size: WebAssembly.Global;
  __wasm_init_tls(at: number): void;
  hz_web_help(): void;
}

/** Start helpers, and wait until each is there. */
export async function startHelpers(
  count: number, start: () => Worker, module: WebAssembly.Module, memory: WebAssembly.Memory,
  allocate: (bytes: number) => number,
): Promise<Helpers> {
  const workers: Worker[] = [];
  const end = () => workers.forEach((worker) => worker.terminate());
  const ready = Array.from({ length: count }, () => {
    const at = allocate(STACK_BYTES + 4096 + ALIGNMENT);
    const top = Math.ceil((at + STACK_BYTES) / ALIGNMENT) * ALIGNMENT;
    const worker = start();
    workers.push(worker);
    return new Promise<void>((done, fail) => {
      worker.onmessage = ({ data }: MessageEvent<string | null>) =>
        data === null ? done() : fail(new Error(data));
      worker.onerror = (event) => {
        event.preventDefault();
        fail(new Error(event.message || "its script does not load"));
      };
      worker.postMessage({ module, memory, top } satisfies HelperStart);
    });
  });
  try {
    await Promise.all(ready);
  } catch (error) {
    end();
    throw new UnsupportedError(
      `Every thread of the renderer must start; one did not (${(error as Error).message}). Load ` +
        "harmonizer.wasm without `threads`.",
    );
  }
  return { count, end };
}
