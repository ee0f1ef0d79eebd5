/** What a person did to the arguments, to be undone and done again. */

export class History<T> {
  #states: T[];
  #at = 0;

  constructor(first: T) {
    this.#states = [first];
  }

  get current(): T {
    return this.#states[this.#at];
  }

  get canUndo(): boolean {
    return this.#at > 0;
  }

  get canRedo(): boolean {
    return this.#at < this.#states.length - 1;
  }

  /** Add a state; the same as the current one adds nothing. */
  push(state: T): void {
    if (JSON.stringify(state) === JSON.stringify(this.current)) return;
    this.#states = [...this.#states.slice(0, this.#at + 1), state].slice(-200);
    this.#at = this.#states.length - 1;
  }

  undo(): T {
    if (this.canUndo) --this.#at;
    return this.current;
  }

  redo(): T {
    if (this.canRedo) ++this.#at;
    return this.current;
  }
}
