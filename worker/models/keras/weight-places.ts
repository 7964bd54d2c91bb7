/** Where the weights of a Keras model lie in its HDF5 file: `layers/dense_1/vars/0` in a .keras file, by names in an .h5 file. */
import { isArray, isContainer, layersOf, savedObject, type SavedObject } from '../layers/saved-object.js';

/** From the path of a layer in the model, "encoder/dense", to the groups that have its weights, in the order of tfjs-layers. */
export type WeightGroups = ReadonlyMap<string, readonly string[]>;

/**
 * The groups of a `.keras` file. Layers of a model are named by their classes there, counted in the model's order
 * (https://keras.io/api/models/model_saving_apis/weights_saving_and_loading/).
 */
export function groupsOf(model: SavedObject): WeightGroups {
  const groups = new Map<string, readonly string[]>();
  addGroups(model, { path: [], group: '', groups });
  return groups;
}

interface Place {
  readonly path: readonly string[];
  readonly group: string;
  readonly groups: Map<string, readonly string[]>;
}

function addGroups(model: SavedObject, { path, group, groups }: Place): void {
  const names = new UniqueNames();
  for (const layer of layersOf(model)) {
    // A sequential model does not count its input as one of its layers.
    if (!layer || (model.className === 'Sequential' && layer.className === 'InputLayer')) continue;
    const own = join(group, 'layers', names.next(layer.className));
    const inner = innerModel(layer);
    const ownPath = [...path, layer.name];
    if (isContainer(layer)) addGroups(layer, { path: ownPath, group: own, groups });
    else if (inner) addGroups(inner, { path: ownPath, group: join(own, 'layer'), groups });
    else groups.set(ownPath.join('/'), groupsIn(layer, own));
  }
}

/** A model that is applied to each step of a sequence. */
function innerModel(layer: SavedObject): SavedObject | null {
  const inner = layer.className === 'TimeDistributed' ? savedObject(layer.config['layer']) : null;
  return inner && isContainer(inner) ? inner : null;
}

const recurrent: ReadonlySet<string> = new Set(['SimpleRNN', 'GRU', 'LSTM', 'ConvLSTM2D', 'RNN']);

function groupsIn(layer: SavedObject, group: string): string[] {
  const { className, config } = layer;
  const inner = savedObject(config['layer']);
  if (className === 'Bidirectional' && inner) {
    return [...groupsIn(inner, join(group, 'forward_layer')), ...groupsIn(inner, join(group, 'backward_layer'))];
  }
  if (className === 'TimeDistributed' && inner) return groupsIn(inner, join(group, 'layer'));
  if (!recurrent.has(className)) return [join(group, 'vars')];
  const cells = savedObject(config['cell'])?.config['cells'];
  if (!isArray(cells)) return [join(group, 'cell', 'vars')];
  const names = new UniqueNames();
  return cells.map((cell) => join(group, 'cell', 'cells', names.next(savedObject(cell)?.className ?? ''), 'vars'));
}

/**
 * The weights of each layer of an `.h5` file, which lists their names for each layer of the outermost model. Of a model inside
 * they are told apart by the names of its layers.
 *
 * @param namesOf the names that the file lists for such a layer, as paths in the file
 */
export function namesOfLayers(
  model: SavedObject,
  namesOf: (layer: string) => readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const layer of layersOf(model)) {
    if (layer) addNames(layer, [], { names: namesOf(layer.name), found });
  }
  return found;
}

interface Listed {
  readonly names: readonly string[];
  readonly found: Map<string, readonly string[]>;
}

function addNames(layer: SavedObject, path: readonly string[], { names, found }: Listed): void {
  const own = [...path, layer.name];
  const model = isContainer(layer) ? layer : innerModel(layer);
  if (!model) {
    found.set(own.join('/'), names);
    return;
  }
  for (const inner of layersOf(model)) {
    if (!inner) continue;
    const isModel = isContainer(inner) || innerModel(inner) !== null;
    addNames(inner, own, { names: isModel ? names : names.filter((name) => isOf(name, inner)), found });
  }
}

function isOf(weightName: string, { name }: SavedObject): boolean {
  return weightName.split('/').slice(0, -1).includes(name);
}

/** dense, dense_1, … for classes that come again. */
class UniqueNames {
  readonly #counts = new Map<string, number>();

  next(className: string): string {
    const name = toSnakeCase(className);
    const count = this.#counts.get(name) ?? 0;
    this.#counts.set(name, count + 1);
    return count === 0 ? name : `${name}_${count}`;
  }
}

/** As Keras does it. */
function toSnakeCase(className: string): string {
  return className
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('/');
}
