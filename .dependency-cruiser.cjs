/** Who may import what: docs/decisions and CONTRIBUTING.md say why. test/contract/house.test.ts sees each rule fire. */

const shipped = '^(index\\.ts$|(bin|src|transport|coordinator|worker|testing)/)';

/** Files that speak WebSocket. */
const transports = '^(transport/|coordinator/transport|worker/comm/transport)';

/** Started by name and imported by nobody. */
const entryPoints = ['^index\\.ts$', '^testing/index\\.ts$', '^bin/', '-thread\\.ts$', '\\.d\\.ts$'];

/** A package, found in node_modules or not. */
const npmPackage = (name) => `(^|node_modules/)(@types/)?${name}(/|$)`;

/** Modules of Node that are a process, a file, a socket or a clock. */
const impureModules = [
  'child_process',
  'cluster',
  'dgram',
  'fs',
  'http',
  'http2',
  'https',
  'net',
  'perf_hooks',
  'process',
  'timers',
  'tls',
  'worker_threads',
];

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'src-below-all',
      comment: 'src is what both sides share: it knows neither of them, nor how they talk, nor the command.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(index\\.ts$|(bin|transport|coordinator|worker|testing)/)' },
    },
    {
      name: 'transport-below-both-sides',
      comment: 'A transport carries messages for either side and belongs to none.',
      severity: 'error',
      from: { path: '^transport/' },
      to: { path: '^(index\\.ts$|(bin|coordinator|worker|testing)/)' },
    },
    {
      name: 'coordinator-not-to-worker',
      comment: 'They run in different processes and share messages, in src/protocol.',
      severity: 'error',
      from: { path: '^coordinator/' },
      to: { path: '^worker/' },
    },
    {
      name: 'worker-not-to-coordinator',
      comment: 'They run in different processes and share messages, in src/protocol.',
      severity: 'error',
      from: { path: '^worker/' },
      to: { path: '^coordinator/' },
    },
    {
      name: 'sides-not-to-bin',
      comment: 'The command is on top: it starts the others.',
      severity: 'error',
      from: { path: '^(coordinator|worker)/' },
      to: { path: '^bin/' },
    },
    {
      name: 'not-to-barrel',
      comment: 'index.ts is for users: imported from inside, it makes one cycle of the whole code.',
      severity: 'error',
      from: { path: '^(bin|coordinator|worker)/' },
      to: { path: '^index\\.ts$' },
    },
    {
      name: 'testing-outside',
      comment: "A user's test starts the command as anybody does: what is in its process is the test.",
      severity: 'error',
      from: { path: '^testing/' },
      to: { path: '^(index\\.ts$|(bin|transport|coordinator|worker)/)' },
    },
    {
      name: 'not-to-bench',
      comment: 'The package goes without it. What `lockstep bench` needs is in worker/bench.',
      severity: 'error',
      from: { path: shipped },
      to: { path: '^bench/' },
    },
    {
      name: 'no-cycles',
      comment: 'Modules that need each other are one module, or lack a third.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'src-pure',
      comment: 'src has no process, file, socket or clock: they are handed in, so that a simulator can run it.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: `^(node:)?(${impureModules.join('|')})(/|$)`, dependencyTypes: ['core'] },
    },
    {
      name: 'tensorflow-in-compute',
      comment: 'The engine is loaded where it computes, after its environment is set. Types are free.',
      severity: 'error',
      from: { pathNot: '^worker/compute/' },
      to: { path: npmPackage('@tensorflow'), dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'ws-in-transports',
      comment: 'Options of a socket (mask, deflate, limits) are set in one place.',
      severity: 'error',
      from: { pathNot: transports },
      to: { path: npmPackage('ws') },
    },
    {
      name: 'msgpackr-in-codec',
      comment: 'What is on the wire is decided in one file.',
      severity: 'error',
      from: { pathNot: '^src/protocol/codec\\.ts$' },
      to: { path: npmPackage('msgpackr') },
    },
    {
      name: 'pino-in-log',
      comment: 'All else writes to the Log of src/log.ts, which tests can read.',
      severity: 'error',
      from: { pathNot: '^bin/log\\.ts$' },
      to: { path: npmPackage('pino') },
    },
    {
      name: 'no-dev-dependencies',
      comment: 'A user who installs lockstep does not get them.',
      severity: 'error',
      from: { path: shipped },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: 'node_modules/@types/' },
    },
    {
      name: 'no-unlisted-packages',
      comment: 'A package that another one happened to install is gone with its next version: put it in package.json.',
      severity: 'error',
      from: { path: shipped },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'no-unresolved',
      comment: 'An import that leads nowhere hides from every other rule.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-orphans',
      comment: 'Nothing imports it and it imports nothing: use it or delete it.',
      severity: 'error',
      from: { orphan: true, pathNot: entryPoints },
      to: {},
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['^src/kernels/assembly/', '^dist/'] },
    // Without it the imports that TypeScript erases, and a cycle of types, would go unseen.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
