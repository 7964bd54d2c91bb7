/**
 * Names of a LayersModel's parameters. tfjs numbers unnamed layers ("dense_Dense7") and repeated tensor names
 * ("dense1/kernel_1") by counters of the whole process, so its names depend on what the process made before. Here the
 * numbers count within the model: the same model has the same names in every worker and in every run.
 */

interface GeneratedName {
  readonly stem: string;
  readonly number: number;
}

/**
 * Names that are unique in the model and independent of the process.
 *
 * @param tensorNames tfjs's `originalName` of each weight: path of layers, then the weight ("lstm_LSTM3/kernel")
 */
export function nameParameters(tensorNames: readonly string[]): string[] {
  const paths = tensorNames.map((name) => name.split('/'));
  const renumbered = renumber(paths.flat());
  const names = paths.map((path) => path.map((segment) => renumbered.get(segment) ?? segment).join('/'));
  return makeUnique(names);
}

/** New names of the generated ones: for each stem, the numbers in use become 1, 2, 3, … in the same order. */
function renumber(segments: readonly string[]): Map<string, string> {
  const numbersOfStem = new Map<string, Set<number>>();
  for (const segment of segments) {
    const generated = parseGenerated(segment);
    if (generated === undefined) continue;
    const numbers = numbersOfStem.get(generated.stem) ?? new Set();
    numbersOfStem.set(generated.stem, numbers.add(generated.number));
  }
  const renumbered = new Map<string, string>();
  for (const [stem, numbers] of numbersOfStem) {
    const inOrder = [...numbers].sort((a, b) => a - b);
    inOrder.forEach((number, index) => renumbered.set(`${stem}${number}`, `${stem}${index + 1}`));
  }
  return renumbered;
}

/** Takes "dense_Dense7" apart: tfjs makes such a name of the class in snake case, "_", the class, and a counter. */
function parseGenerated(segment: string): GeneratedName | undefined {
  const digits = /\d+$/.exec(segment)?.[0] ?? '';
  // A class may end in digits itself ("Net2"), so each split of the digits is tried, the longest number first.
  for (let numDigits = digits.length; numDigits > 0; numDigits--) {
    const stem = segment.slice(0, -numDigits);
    const className = /_([A-Z][^_]*)$/.exec(stem)?.[1];
    if (className === undefined || !stem.endsWith(`${toSnakeCase(className)}_${className}`)) continue;
    const number = segment.slice(-numDigits);
    if (!number.startsWith('0')) return { stem, number: Number(number) };
  }
  return undefined;
}

/** As tfjs-layers does it. */
function toSnakeCase(className: string): string {
  return className
    .replace(/(.)([A-Z][a-z0-9]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

function makeUnique(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let unique = name;
    for (let copy = 1; taken.has(unique); copy++) unique = `${name}_${copy}`;
    taken.add(unique);
    return unique;
  });
}
