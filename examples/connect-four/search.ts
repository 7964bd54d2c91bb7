/**
 * Tree search as in AlphaZero (Silver et al., Science 2018): each simulation walks down by PUCT, asks the network about the position
 * that it comes to, and carries its value back up. Many positions are searched at once, so that the network is asked about many.
 */
import type { Column } from 'lockstep';
import { encode, isOver, moves, numCells, numColumns, play, type Position } from './board.js';

export type Predict = (x: Column) => Column;

export interface SearchOptions {
  readonly predict: Predict;
  readonly random: () => number;
  readonly numSimulations: number;
  /** Share of chance in the first move's priors, for games that teach something new. @default 0 */
  readonly noise?: number;
}

/** How much is tried that the network thinks well of and the search has seen little of. */
const exploration = 1.5;
/** Outputs of the network: what it thinks of each column, and of the position. */
export const numOutputs = numColumns + 1;

class Node {
  readonly position: Position;
  readonly columns: readonly number[];
  priors = new Float64Array(numColumns);
  readonly visits = new Float64Array(numColumns);
  /** Sums of values, as the player to move sees them. */
  readonly totals = new Float64Array(numColumns);
  readonly children: (Node | undefined)[] = [];
  numVisits = 0;
  /** Whether the network was asked about it. */
  isKnown = false;

  constructor(position: Position) {
    this.position = position;
    this.columns = isOver(position) ? [] : moves(position);
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

/** How often each column of each position was tried, as shares; positions must not be over. */
export function search(positions: readonly Position[], options: SearchOptions): Float32Array[] {
  const roots = positions.map((position) => new Node(position));
  expand(roots, options.predict);
  const { noise = 0, random } = options;
  if (noise > 0) for (const root of roots) disturb(root, noise, random);
  for (let simulation = 0; simulation < options.numSimulations; simulation++) {
    const paths = roots.map(walk);
    const values = expand(
      paths.map(({ leaf }) => leaf),
      options.predict,
    );
    paths.forEach((path, i) => {
      carryBack(path, values[i] ?? 0);
    });
  }
  return roots.map(({ visits, numVisits }) => Float32Array.from(visits, (count) => count / numVisits));
}

interface Path {
  readonly steps: readonly { readonly node: Node; readonly column: number }[];
  readonly leaf: Node;
}

function walk(root: Node): Path {
  const steps: { node: Node; column: number }[] = [];
  let node = root;
  do {
    const column = node.best();
    steps.push({ node, column });
    node = node.child(column);
  } while (node.isKnown && node.columns.length > 0);
  return { steps, leaf: node };
}

/** The value of each position for who is to move there: as it has ended, or as the network has it, with its priors. */
function expand(nodes: readonly Node[], predict: Predict): number[] {
  const open = nodes.filter(({ columns }) => columns.length > 0);
  const values = new Map<Node, number>();
  if (open.length > 0) {
    const x = new Float32Array(open.length * numCells * 2);
    open.forEach(({ position }, i) => {
      encode(position, x, i * numCells * 2);
    });
    const { data } = predict({ data: x, shape: [open.length, numCells / numColumns, numColumns, 2] });
    open.forEach((node, i) => {
      const outputs = data.subarray(i * numOutputs, (i + 1) * numOutputs);
      node.priors = softmaxOver(node.columns, outputs);
      node.isKnown = true;
      values.set(node, outputs[numColumns] ?? 0);
    });
  }
  return nodes.map((node) => values.get(node) ?? (node.position.isLost ? -1 : 0));
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
    node.visits[column] = (node.visits[column] ?? 0) + 1;
    node.totals[column] = (node.totals[column] ?? 0) + value;
    node.numVisits++;
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
