/** Games, many at once: of the network against itself, from which it learns, and against others, which tell how well it plays. */
import type { Batch, CollectContext } from 'lockstep';
import { encode, isOver, mirror, numCells, numColumns, numRows, play, start, type Position } from './board.js';
import { randomPlayer, type Player } from './players.js';
import { numOutputs, search, type Found } from './search.js';

export const inputShape: [number, number, number] = [numRows, numColumns, 2];
/**
 * A row says what the network is to predict: how often the search tried each column, and what the position is worth. And then how the game
 * ended for who is to move, and whom it was against.
 */
export const numTargets = numOutputs + 2;

/** One move of the network's. */
interface Move {
  readonly position: Position;
  readonly found: Found;
  /** 0: itself. */
  readonly opponent: number;
  readonly isPondered: boolean;
}

interface Game {
  position: Position;
  readonly moves: Move[];
}

/**
 * In training a turn is pondered or played fast, as chance has it, and what is pondered is learned from: a step's positions are then of more
 * games, which tell more of who wins (playout cap randomization; Wu, Accelerating Self-Play Learning in Go, 2019).
 */
const pondered = { numSimulations: 48, noise: 0.25, share: 0.25 } as const;
const fast = { numSimulations: 12 } as const;
const playingSimulations = 256;
/** About as many moves as are pondered in a game. */
const ponderedMoves = 6;
/** Moves that are drawn by how often they were tried; later ones are the best. */
const drawnMoves = 10;
/** Games against itself begin with up to so many stones at random: it is to know what follows from moves that it would not make. */
const longestOpening = 8;
/** One of each in a game against another, where the network plays its best: that would be one game each time. */
const openingAgainstOthers = 2;

/** Rows of games that the network plays against itself. */
export function playItself({ numRows: wanted, random, predict }: CollectContext): Batch {
  const games = gamesFrom(Math.ceil(wanted / ponderedMoves), () =>
    openingOf(Math.floor(random() * (longestOpening + 1)), random),
  );
  for (let open = games; open.length > 0; open = open.filter(({ position }) => !isOver(position))) {
    const isPondered = random() < pondered.share;
    const found = search(positionsOf(open), {
      predict,
      random,
      width: games.length,
      ...(isPondered ? pondered : fast),
    });
    for (const [game, itsFound] of pairs(open, found)) {
      game.moves.push({ position: game.position, found: itsFound, opponent: 0, isPondered });
      const isDrawn = game.position.numStones < drawnMoves;
      game.position = play(game.position, isDrawn ? draw(itsFound.tried, random) : argMax(itsFound.tried));
    }
  }
  const rows = shuffled(games.flatMap(rowsOf), random);
  const best = rows.toSorted((a, b) => Number(b.move.isPondered) - Number(a.move.isPondered));
  return toBatch(
    Array.from({ length: wanted }, (_, i) => best[i % best.length]),
    random,
  );
}

/** A row for each game against others, who take turns: the network's last move in it, and how the game ended. */
export function playOthers(others: readonly Player[]): (context: CollectContext) => Batch {
  return ({ numRows: wanted, random, predict }) => {
    const games = gamesFrom(wanted, () => openingOf(openingAgainstOthers, random)).map((game, i) => ({
      ...game,
      other: i % others.length,
      isOthersTurn: Math.floor(i / others.length) % 2 === 1,
    }));
    const isOpen = ({ position }: Game): boolean => !isOver(position);
    const options = { predict, random, numSimulations: playingSimulations, width: games.length };
    while (games.some(isOpen)) {
      const own = games.filter((game) => isOpen(game) && !game.isOthersTurn);
      const found = new Map(pairs(own, search(positionsOf(own), options)));
      for (const game of games.filter(isOpen)) {
        const { position, other } = game;
        const itsFound = found.get(game);
        if (itsFound) game.moves.push({ position, found: itsFound, opponent: other + 1, isPondered: true });
        const column = itsFound ? argMax(itsFound.tried) : (others[other]?.(position, random) ?? 0);
        game.position = play(position, column);
        game.isOthersTurn = !game.isOthersTurn;
      }
    }
    return toBatch(games.map((game) => rowsOf(game).at(-1)));
  };
}

/** A position after so many stones at random, at which the game is not over. */
function openingOf(numStones: number, random: () => number): Position {
  let position = start;
  for (let i = 0; i < numStones; i++) position = play(position, randomPlayer(position, random));
  return isOver(position) ? openingOf(numStones, random) : position;
}

function gamesFrom(count: number, opening: () => Position): Game[] {
  return Array.from({ length: count }, () => ({ position: opening(), moves: [] }));
}

function positionsOf(games: readonly Game[]): Position[] {
  return games.map(({ position }) => position);
}

function pairs<A, B>(first: readonly A[], second: readonly B[]): [A, B][] {
  return second.map((b, i) => [first[i] as A, b]); // as long as each other
}

interface Row {
  readonly move: Move;
  /** For who made the move: 1 where they won, -1 where the other did. */
  readonly outcome: number;
}

/** Of a game that is over. Who is to move then has lost, if anybody has. */
function rowsOf({ moves, position: end }: Game): Row[] {
  return moves.map((move) => {
    const isLosers = (end.numStones - move.position.numStones) % 2 === 0;
    return { move, outcome: end.isLost ? (isLosers ? -1 : 1) : 0 };
  });
}

function draw(shares: Float32Array, random: () => number): number {
  let left = random();
  for (const [column, share] of shares.entries()) {
    left -= share;
    if (left < 0 && share > 0) return column;
  }
  return argMax(shares);
}

function argMax(shares: Float32Array): number {
  return shares.indexOf(Math.max(...shares));
}

function shuffled<T>(values: readonly T[], random: () => number): T[] {
  return values
    .map((value) => ({ value, place: random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ value }) => value);
}

/** @param random turns half of the rows left to right. @default none is turned */
function toBatch(rows: readonly (Row | undefined)[], random?: () => number): Batch {
  const x = new Float32Array(rows.length * numCells * 2);
  const y = new Float32Array(rows.length * numTargets);
  rows.forEach((row, i) => {
    if (!row) return;
    const { position, found, opponent } = row.move;
    const isTurned = random !== undefined && random() < 0.5;
    encode(isTurned ? mirror(position) : position, x, i * numCells * 2);
    // One game says little of a position, and a search that knows little no more.
    const worth = (row.outcome + found.value) / 2;
    y.set(isTurned ? found.tried.toReversed() : found.tried, i * numTargets);
    y.set([worth, row.outcome, opponent], i * numTargets + numColumns);
  });
  return { x: { data: x, shape: [rows.length, ...inputShape] }, y: { data: y, shape: [rows.length, numTargets] } };
}
