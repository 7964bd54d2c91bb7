/**
 * What is to happen, soonest first: a binary heap by (time, order). The caller makes `order` distinct for events of one
 * time that touch the same thing, so that a simulation is the same whatever was pushed first.
 */
export class EventQueue<T> {
  readonly #times: number[] = [];
  readonly #orders: number[] = [];
  readonly #items: T[] = [];

  get length(): number {
    return this.#items.length;
  }

  /** When the next event is; NaN where there is none. */
  get nextTime(): number {
    return this.#times[0] ?? NaN;
  }

  push(time: number, order: number, item: T): void {
    const times = this.#times;
    const orders = this.#orders;
    const items = this.#items;
    let index = items.length;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const parentTime = times[parent] as number; // parent < index ≤ length
      const parentOrder = orders[parent] as number;
      if (parentTime < time || (parentTime === time && parentOrder <= order)) break;
      times[index] = parentTime;
      orders[index] = parentOrder;
      items[index] = items[parent] as T;
      index = parent;
    }
    times[index] = time;
    orders[index] = order;
    items[index] = item;
  }

  /** Takes the next event out. */
  pop(): T | undefined {
    const next = this.#items[0];
    const time = this.#times.pop();
    const order = this.#orders.pop();
    const item = this.#items.pop();
    if (time !== undefined && order !== undefined && item !== undefined && this.#items.length > 0) {
      this.#sink(time, order, item);
    }
    return next;
  }

  /** Puts an event at the root and lets it sink to its place. */
  #sink(time: number, order: number, item: T): void {
    const times = this.#times;
    const orders = this.#orders;
    const items = this.#items;
    const length = items.length;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= length) break;
      if (child + 1 < length && this.#isBefore(child + 1, child)) child += 1;
      const childTime = times[child] as number; // child < length
      const childOrder = orders[child] as number;
      if (time < childTime || (time === childTime && order <= childOrder)) break;
      times[index] = childTime;
      orders[index] = childOrder;
      items[index] = items[child] as T;
      index = child;
    }
    times[index] = time;
    orders[index] = order;
    items[index] = item;
  }

  #isBefore(a: number, b: number): boolean {
    const timeA = this.#times[a] as number; // both lie in the heap
    const timeB = this.#times[b] as number;
    return timeA < timeB || (timeA === timeB && (this.#orders[a] as number) < (this.#orders[b] as number));
  }
}
