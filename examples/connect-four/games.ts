/** Games, many at once: of the network against itself, from which it learns, and against others, which tell how well it plays. */
import type { Batch, CollectContext } from 'lockstep';
import { encode, isOver, mirror, numCells, numColumns, numRows, play, start, type Position } from './board.js';
import { randomPlayer, type Player } from './players.js';
import { search } from './search.js';

export const inputShape: [number, number, number] = [numRows, numColumns, 2];
/** What a row is to predict: how often the search tried each column, how the game ended for who is to move, and whom it was against. */
export const numTargets = numColumns + 2;

/** One move of the network's. */
interface Move {
  readonly position: Position;
  readonly tried: Float32Array;
  /** 0: itself. */
  readonly opponent: number;
  /** 1 where who moves here wins, -1 where the other does. */
  outcome: number;
}

interface Game {
  position: Position;
  readonly moves: Move[];
}

const trainingSimulations = 48;
const playingSimulations = 256;
const noise = 0.25;
/** Moves that are drawn by how often they were tried; later ones are the best. */
const drawnMoves = 10;
/** About as many moves as a game gives that differ. */
const movesOfGame = 16;

/** Rows of games that the network plays against itself. */
export function playItself(context: CollectContext): Batch {
  const { numRows: wanted, random, predict } = context;
  const games = startGames(Math.ceil(wanted / movesOfGame));
  for (let open = games; open.length > 0; open = open.filter(({ position }) => !isOver(position))) {
    const shares = search(
      open.map(({ position }) => position),
      { predict, random, numSimulations: trainingSimulations, noise, width: games.length },
    );
    open.forEach((game, i) => {
      const tried = shares[i] ?? new Float32Array(numColumns);
      game.moves.push({ position: game.position, tried, opponent: 0, outcome: 0 });
      const { numStones } = game.position;
      game.position = play(game.position, numStones < drawnMoves ? draw(tried, random) : argMax(tried));
    });
  }
  for (const { moves, position } of games) settle(moves, position.isLost ? 1 : 0);
  const all = games.flatMap(({ moves }) => moves);
  const rows = Array.from({ length: wanted }, () => all[Math.floor(random() * all.length)]);
  return toBatch(rows, random);
}

/** Stones at random that a game against another begins with, one of each: the network plays its best, which would be one game each time. */
const openingMoves = 2;

/** A row for each game against others, who take turns: the network's last move in it, and how the game ended. */
export function playOthers(others: readonly Player[]): (context: CollectContext) => Batch {
  return ({ numRows: wanted, random, predict }) => {
    const games = startGames(wanted).map((game, i) => ({
      ...game,
      position: openingOf(random),
      other: i % others.length,
      isOthersTurn: Math.floor(i / others.length) % 2 === 1,
    }));
    const isOpen = ({ position }: Game): boolean => !isOver(position);
    while (games.some(isOpen)) {
      const own = games.filter((game) => isOpen(game) && !game.isOthersTurn);
      const shares = search(
        own.map(({ position }) => position),
        { predict, random, numSimulations: playingSimulations, width: games.length },
      );
      const tried = new Map(own.map((game, i) => [game, shares[i] ?? new Float32Array(numColumns)]));
      for (const game of games.filter(isOpen)) {
        const share = tried.get(game);
        if (share) game.moves.push({ position: game.position, tried: share, opponent: game.other + 1, outcome: 0 });
        const column = share ? argMax(share) : (others[game.other]?.(game.position, random) ?? 0);
        game.position = play(game.position, column);
        game.isOthersTurn = !game.isOthersTurn;
      }
    }
    const last = games.map(({ moves, position, isOthersTurn }) => {
      // Who is to move has lost, if anybody has.
      settle(moves.slice(-1), position.isLost ? (isOthersTurn ? 1 : -1) : 0);
      return moves.at(-1);
    });
    return toBatch(last);
  };
}

function openingOf(random: () => number): Position {
  let position = start;
  for (let i = 0; i < openingMoves; i++) position = play(position, randomPlayer(position, random));
  return position;
}

function startGames(count: number): Game[] {
  return Array.from({ length: count }, () => ({ position: start, moves: [] }));
}

/** The last move's outcome, and in turn those before it. */
function settle(moves: readonly Move[], lastOutcome: number): void {
  let outcome = lastOutcome;
  for (const move of moves.toReversed()) {
    move.outcome = outcome;
    outcome = -outcome;
  }
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

/** @param random turns half of the rows left to right. @default none is turned */
function toBatch(moves: readonly (Move | undefined)[], random?: () => number): Batch {
  const x = new Float32Array(moves.length * numCells * 2);
  const y = new Float32Array(moves.length * numTargets);
  moves.forEach((move, row) => {
    if (!move) return;
    const isTurned = random !== undefined && random() < 0.5;
    encode(isTurned ? mirror(move.position) : move.position, x, row * numCells * 2);
    y.set(isTurned ? move.tried.toReversed() : move.tried, row * numTargets);
    y.set([move.outcome, move.opponent], row * numTargets + numColumns);
  });
  return { x: { data: x, shape: [moves.length, ...inputShape] }, y: { data: y, shape: [moves.length, numTargets] } };
}
