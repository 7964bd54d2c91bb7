/** Where the log goes: plain lines for people on stderr, or pino's JSON lines on stdout with `--json`. */
import { Console } from 'node:console';
import { pino } from 'pino';
import type { Log, LogFields, LogLevel } from '../src/log.js';

/** JSON lines, written at once so that none is lost when the process ends. */
export function jsonLog(name: string): Log {
  // Stdout holds the log and nothing else: what a job file prints goes to stderr.
  globalThis.console = new Console(process.stderr);
  const logger = pino({ name, base: { pid: process.pid } }, pino.destination({ dest: 1, sync: true }));
  return makeLog((level, message, fields) => {
    logger[level](fields, message);
  });
}

export interface TextLogOptions {
  /** The least level that is shown. @default 'info' */
  readonly level?: LogLevel;
  readonly write?: (line: string) => void;
}

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Lines for people: the message, after the level where it is a warning or an error. */
export function textLog({
  level: least = 'info',
  write = (line) => process.stderr.write(`${line}\n`),
}: TextLogOptions): Log {
  return makeLog((level, message) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    write(level === 'warn' || level === 'error' ? `${level}: ${message}` : message);
  });
}

function makeLog(write: (level: LogLevel, message: string, fields: LogFields) => void): Log {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      write(level, message, fields);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
