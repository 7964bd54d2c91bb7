/** Data for job files. */
export { arrays, type NestedNumbers, type Rows } from './arrays.js';
export { csv, type CsvColumn, type CsvOptions } from './csv.js';
export { idx } from './idx.js';
export { jsonLines, type JsonLinesOptions } from './json-lines.js';
export type { RowMap } from './map.js';
export type { FitOptions, NormalizeOptions, ScaleOptions, StandardOptions } from './normalize.js';
export { npy } from './npy.js';
export type { PairedFiles } from './paired-files.js';
export type { RowShapes } from './reshape.js';
export { rollouts, type RolloutsOptions } from './rollouts.js';
export { source, Source } from './source.js';
export type { SplitOptions, SplitPart } from './split.js';
export { text, type TextOptions } from './text.js';
