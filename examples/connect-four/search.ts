/**
 * Tree search as in AlphaZero (Silver et al., Science 2018): each simulation walks down by PUCT, asks the network about the position
 * that it comes to, and carries its value back up. Many positions are searched at once, each by some simulations at once, so that the
 * network is asked about many.
 */
import type { Column } from 'lockstep';
import { encode, isOver, moves, numCells, numColumns, play, winsAt, type Position } from './board.js';

export type Predict = (x: Column) => Column;

export interface SearchOptions {
  readonly predict: Predict;
  readonly random: () => number;
  /** A multiple of `simulationsAtOnce`, or rounded up to one. */
  readonly numSimulations: number;
  /** Share of chance in the first move's priors, for games that teach something new. @default 0 */
  readonly noise?: number;
  /** As many positions as are ever searched at once: the network is always asked about as many as these may need, as shapes cost time. */
  readonly width: number;
}

/** What a search has found out about a position. */
export interface Found {
  /** How often each column was tried, as shares. */
  readonly tried: Float32Array;
  /** How it ends for who is to move, from -1 to 1: the mean of all simulations. */
  readonly value: number;
}

/** Of one position. */
const simulationsAtOnce = 4;

/** How much is tried that the network thinks well of and the search has seen little of. */
const exploration = 1.5;
/** Outputs of the network: what it thinks of each column, and of the position. */
export const numOutputs = numColumns + 1;

/** The moves that are worth a thought: to win, or else to take from the other what would win. */
function outlook(position: Position): { readonly columns: readonly number[]; readonly end: number | null } {
  if (isOver(position)) return { columns: [], end: position.isLost ? -1 : 0 };
  const columns = moves(position);
  const winning = columns.filter((column) => winsAt(position, column, 1));
  if (winning.length > 0) return { columns: winning, end: 1 };
  const forced = columns.filter((column) => winsAt(position, column, -1));
  if (forced.length > 0) return { columns: forced, end: forced.length > 1 ? -1 : null };
  return { columns, end: null };
}

class Node {
  readonly position: Position;
  readonly columns: readonly number[];
  priors = new Float64Array(numColumns);
  readonly visits = new Float64Array(numColumns);
  /** Sums of values, as the player to move sees them. */
  readonly totals = new Float64Array(numColumns);
  readonly children: (Node | undefined)[] = [];
  numVisits = 0;
  /** Whether the network was asked about it, or need not be, as there is one move. */
  isKnown = false;
  /** How it ends for who is to move, where that is seen without a search. */
  readonly end: number | null;

  constructor(position: Position) {
    const { columns, end } = outlook(position);
    this.position = position;
    this.columns = columns;
    this.end = end;
    if (columns.length !== 1) return;
    this.priors[columns[0] ?? 0] = 1;
    this.isKnown = true;
  }

  child(column: number): Node {
    return (this.children[column] ??= new Node(play(this.position, column)));
  }

  best(): number {
    const scale = exploration * Math.sqrt(this.numVisits + 1);
    let best = -1;
    let highest = -Infinity;
    for (const column of this.columns) {
      const visits = this.visits[column] ?? 0;
      const value = visits === 0 ? 0 : (this.totals[column] ?? 0) / visits;
      const score = value + (scale * (this.priors[column] ?? 0)) / (1 + visits);
      if (score <= highest) continue;
      highest = score;
      best = column;
    }
    return best;
  }
}

/** Positions must not be over. */
export function search(positions: readonly Position[], options: SearchOptions): Found[] {
  const roots = positions.map((position) => new Node(position));
  expand(roots, options);
  const { noise = 0, random } = options;
  if (noise > 0) for (const root of roots) disturb(root, noise, random);
  for (let done = 0; done < options.numSimulations; done += simulationsAtOnce) {
    const paths = roots.flatMap((root) => Array.from({ length: simulationsAtOnce }, () => walk(root)));
    const values = expand(
      paths.map(({ leaf }) => leaf),
      options,
    );
    paths.forEach((path, i) => {
      carryBack(path, values[i] ?? 0);
    });
  }
  return roots.map(({ visits, totals, numVisits }) => ({
    tried: Float32Array.from(visits, (count) => count / numVisits),
    value: totals.reduce((sum, total) => sum + total, 0) / numVisits,
  }));
}

interface Path {
  readonly steps: readonly { readonly node: Node; readonly column: number }[];
  readonly leaf: Node;
}

/** Counts as lost until its value is carried back, so that those at once go different ways (virtual loss; Chaslot et al., 2008). */
function walk(root: Node): Path {
  const steps: { node: Node; column: number }[] = [];
  let node = root;
  do {
    const column = node.best();
    steps.push({ node, column });
    node.numVisits++;
    node.visits[column] = (node.visits[column] ?? 0) + 1;
    node.totals[column] = (node.totals[column] ?? 0) - 1;
    node = node.child(column);
  } while (node.isKnown && node.end === null);
  return { steps, leaf: node };
}

/** The value of each position for who is to move there: as it ends, or as the network has it, with its priors. */
function expand(nodes: readonly Node[], { predict, width }: SearchOptions): number[] {
  const values = new Map<Node, number>();
  const open = [...new Set(nodes)].filter((node) => node.end === null);
  if (open.length > 0) {
    const numRows = width * simulationsAtOnce;
    const x = new Float32Array(numRows * numCells * 2);
    open.forEach(({ position }, i) => {
      encode(position, x, i * numCells * 2);
    });
    const { data } = predict({ data: x, shape: [numRows, numCells / numColumns, numColumns, 2] });
    open.forEach((node, i) => {
      const outputs = data.subarray(i * numOutputs, (i + 1) * numOutputs);
      node.priors = softmaxOver(node.columns, outputs);
      node.isKnown = true;
      values.set(node, outputs[numColumns] ?? 0);
    });
  }
  return nodes.map((node) => node.end ?? values.get(node) ?? 0);
}

function softmaxOver(columns: readonly number[], logits: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const highest = Math.max(...columns.map((column) => logits[column] ?? 0));
  const shares = new Float64Array(numColumns);
  for (const column of columns) shares[column] = Math.exp((logits[column] ?? 0) - highest);
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

/** What is good for who is to move is bad for who moved there. */
function carryBack({ steps }: Path, leafValue: number): void {
  let value = leafValue;
  for (const { node, column } of steps.toReversed()) {
    value = -value;
    node.totals[column] = (node.totals[column] ?? 0) + 1 + value; // and is no loss any more
  }
}

/** Priors mixed with a draw of the flat Dirichlet distribution. */
function disturb({ priors, columns }: Node, noise: number, random: () => number): void {
  const draws = columns.map(() => -Math.log(1 - random()));
  const sum = draws.reduce((total, draw) => total + draw, 0);
  columns.forEach((column, i) => {
    priors[column] = (1 - noise) * (priors[column] ?? 0) + (noise * (draws[i] ?? 0)) / sum;
  });
}
