/** Front slots that stay empty before the array is moved up, so that small queues are never copied. */
const MIN_EMPTY_SLOTS = 64;

/** A first-in-first-out queue: adding and taking cost the same however long it is. */
export class Fifo<Item extends object> {
  #slots: (Item | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#slots.length - this.#head;
  }

  push(item: Item): void {
    this.#slots.push(item);
  }

  /** The oldest item, which stays. */
  peek(): Item | undefined {
    return this.#slots[this.#head];
  }

  /** Takes the oldest item. */
  shift(): Item | undefined {
    const item = this.#slots[this.#head];
    if (item === undefined) return undefined;
    this.#slots[this.#head] = undefined;
    this.#head += 1;
    // Each move is paid for by as many takes before it.
    if (this.#head >= MIN_EMPTY_SLOTS && this.#head * 2 >= this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Drops the items that `keep` is false for, in one pass; the others keep their order. */
  retain(keep: (item: Item) => boolean): void {
    this.#slots = this.#slots.filter((item) => item !== undefined && keep(item));
    this.#head = 0;
  }

  /** Takes every item. */
  drain(): Item[] {
    const items = this.#slots.filter((item) => item !== undefined);
    this.#slots = [];
    this.#head = 0;
    return items;
  }
}
