/** Something that must hold in every run, and does not in this one. */
export type Invariant =
  | 'the same bits'
  | 'each slot once'
  | 'within one step'
  | 'one generation'
  | 'one term'
  | 'a coordinator costs no worker'
  | 'progress'
  | 'the run goes on'
  | 'each step told once'
  | 'no step taken back';

export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, found: string) {
    super(`${invariant}: ${found}`);
    this.name = 'Violation';
    this.invariant = invariant;
  }
}
