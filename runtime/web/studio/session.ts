/** Calls into the worker. */

import type { Answer, Operation, Request, Requests } from "./protocol.ts";

interface Waiting {
  resolve(result: never): void;
  reject(error: Error): void;
}

export class Session {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(path: string, onBusy: (busy: boolean) => void) {
    this.#worker = new Worker(new URL(path, document.baseURI), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (!this.#waiting.size) onBusy(false);
      if ("error" in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.result as never);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(
        "The tab must have memory for this picture and its copies; its worker ended. Load the page " +
          "again and use a smaller picture.",
      );
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
      onBusy(false);
    };
    this.onBusy = onBusy;
  }

  private readonly onBusy: (busy: boolean) => void;

  call<K extends Operation>(
    operation: K, given: Requests[K][0], transfer: Transferable[] = [],
  ): Promise<Requests[K][1]> {
    const id = ++this.#last;
    const request: Request = { id, operation, given };
    this.onBusy(true);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      this.#worker.postMessage(request, transfer);
    });
  }
}

/** Runs the newest of what is asked for, one at a time; what came between is left out. */
export function latest<T>(run: (given: T) => Promise<void>): (given: T) => Promise<void> {
  let next: { given: T } | null = null;
  let running: Promise<void> | null = null;
  const loop = async () => {
    while (next) {
      const { given } = next;
      next = null;
      await run(given);
    }
    running = null;
  };
  return (given) => {
    next = { given };
    return (running ??= loop());
  };
}
