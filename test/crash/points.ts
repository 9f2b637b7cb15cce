import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

import { Catalogue, CATALOGUE_FOLDER, type ViewChange } from '../../src/store/catalogue.ts';
import { Environment } from '../../src/store/environment.ts';
import { Timelines } from '../../src/store/timelines.ts';
import { VersionFiles } from '../../src/store/version-files.ts';
import { VersionStore } from '../../src/store/version-store.ts';

/** A named place in the work of a store, and up to the how manieth time a process is killed there. */
export interface Point {
  /** Sees to it that `strike` is called there. */
  arm: (strike: () => void) => void;
  times: number;
  /** The process comes there when it ends. */
  isAtEnd?: true;
}

/** What is done in a method's place: `call` does what the method would have done. */
type Around = (call: () => unknown, self: unknown, given: unknown[]) => unknown;
type Method = (this: unknown, ...given: unknown[]) => unknown;
type IsMeant = (self: unknown, given: readonly unknown[]) => boolean;

/** The folder, in what is not the data directory, that backups go to. */
export const BACKUPS = 'backups-of-the-victim';

export function wrap(owner: object, name: string, around: Around): void {
  const methods = owner as Record<string, Method>;
  const method = methods[name]!;
  methods[name] = function wrapped(this: unknown, ...given: unknown[]) {
    return around(() => method.apply(this, given), this, given);
  };
}

/** Calls `then` when what a method gave is there. */
export function whenDone(given: unknown, then: () => void): unknown {
  if (!(given instanceof Promise)) {
    then();
    return given;
  }
  return given.then((value: unknown) => {
    then();
    return value;
  });
}

function before(owner: object, name: string, isMeant: IsMeant = always): Point['arm'] {
  return (strike) =>
    wrap(owner, name, (call, self, given) => {
      if (isMeant(self, given)) strike();
      return call();
    });
}

function after(owner: object, name: string, isMeant: IsMeant = always): Point['arm'] {
  return (strike) =>
    wrap(owner, name, (call, self, given) => {
      const isOne = isMeant(self, given);
      return whenDone(call(), isOne ? strike : () => {});
    });
}

/** In a write transaction, when all that belongs to it is done. */
function within(name: 'commit' | 'commitSync', isMeant: IsMeant): Point['arm'] {
  return (strike) =>
    wrap(Environment.prototype, name, (call, self, given) => {
      if (isMeant(self, given)) {
        const work = given[0] as () => unknown;
        given[0] = () => whenDone(work(), strike);
      }
      return call();
    });
}

/** At a call to the file system about such a path. */
function atFileCall(
  when: typeof before,
  owner: object,
  name: string,
  path: RegExp,
  argument = 0,
): Point['arm'] {
  return (strike) => {
    when(owner, name, (_self, given) => path.test(String(given[argument])))(strike);
    syncBuiltinESMExports();
  };
}

/** Either way of reserving seqs. */
function atReserve(when: typeof before): Point['arm'] {
  return (strike) => {
    for (const name of ['reserveSeqs', 'reserveSeqsSync']) when(catalogue, name)(strike);
  };
}

const always: IsMeant = () => true;
const ofCatalogue: IsMeant = (self) => {
  const file = fileOf(self);
  return file.includes(CATALOGUE_FOLDER) && !file.includes(BACKUPS);
};
const ofVersion: IsMeant = (self) => {
  const file = fileOf(self);
  return file.includes('views') && !file.includes(BACKUPS);
};
const ofCopy: IsMeant = (self) => copying.has(fileOf(self));
const ofBackup: IsMeant = (self) => fileOf(self).includes(BACKUPS);
const isChange =
  (...types: ViewChange['type'][]): IsMeant =>
  (_self, given) =>
    types.includes((given[2] as ViewChange | undefined)?.type ?? 'view');
const ofHorizon = isChange('horizon');
const ofView = isChange('view');
const ofPromotion = isChange('promoted', 'rolled_back');
const ofErasure: IsMeant = (_self, [event]) => (event as { type: string }).type === 'erased';
const ofLift: IsMeant = (_self, [event]) => (event as { type: string }).type !== 'erased';
const ofSwitch: IsMeant = (_self, given) => (given[2] as { number: number }).number > 0;
const ofNewView: IsMeant = (self, given) => !ofSwitch(self, given);
const atEnd: IsMeant = (self, [ends]) =>
  ends !== undefined && !(self as { directory: string }).directory.includes(BACKUPS);

const VIEWS = /\bviews\b/;
const MANIFEST = /backup\.json$/;

function fileOf(self: unknown): string {
  return (self as Environment).file;
}

/** The files that a compaction writes, until it serves them. */
const copying = new Set<string>();

/** Keeps account of which files those are. */
export function watchCopies(): void {
  wrap(Environment.prototype, 'table', (call, self) => {
    const file = fileOf(self);
    if (isServing && /[/\\]g\d+[/\\]/.test(file)) copying.add(file);
    return call();
  });
  wrap(VersionStore.prototype, 'switchTo', (call, _self, [files]) => {
    copying.delete((files as VersionFiles).environment.file);
    return call();
  });
}

let isServing = false;

/** From here on the store is open: new files are those of a compaction. */
export function beginServing(): void {
  isServing = true;
}

const { prototype: environment } = Environment;
const { prototype: catalogue } = Catalogue;
const { prototype: files } = VersionFiles;
const { prototype: versionStore } = VersionStore;

export const POINTS: Record<string, Point> = {
  'before a commit': { arm: before(environment, 'commit', ofVersion), times: 80 },
  'in the transaction of a commit': { arm: within('commit', ofVersion), times: 80 },
  'between a commit and its flush': { arm: after(environment, 'commit', ofVersion), times: 80 },
  'before a flush is waited for': { arm: before(environment, 'flushed', ofVersion), times: 40 },
  'between a flush and the answer': { arm: after(environment, 'flushed', ofVersion), times: 40 },
  'before seqs are reserved': { arm: atReserve(before), times: 1 },
  'in the transaction that reserves seqs': { arm: after(catalogue, 'putReserved'), times: 1 },
  'after seqs were reserved': { arm: atReserve(after), times: 1 },
  'in a transaction of the catalogue': { arm: within('commitSync', ofCatalogue), times: 12 },
  'after a transaction of the catalogue': {
    arm: after(environment, 'commitSync', ofCatalogue),
    times: 12,
  },
  'before a commit of a compacted copy': { arm: before(environment, 'commit', ofCopy), times: 20 },
  'in a commit of a compacted copy': { arm: within('commit', ofCopy), times: 20 },
  'after a commit of a compacted copy': { arm: after(environment, 'commit', ofCopy), times: 20 },
  'before the catalogue names a compacted copy': {
    arm: before(catalogue, 'putGeneration', ofSwitch),
    times: 3,
  },
  'after the catalogue named a compacted copy': {
    arm: after(catalogue, 'putGeneration', ofSwitch),
    times: 3,
  },
  'after the switch to a compacted copy': { arm: after(versionStore, 'switchTo'), times: 3 },
  'before old files are unlinked': { arm: before(catalogue, 'unlinkOldFiles'), times: 3 },
  'after old files were unlinked': { arm: after(catalogue, 'unlinkOldFiles'), times: 3 },
  'while old files are unlinked': { arm: atFileCall(after, fs.promises, 'rm', VIEWS), times: 3 },
  'while left-over files are unlinked': { arm: atFileCall(after, fs, 'rmSync', VIEWS), times: 6 },
  'while folders are made': { arm: atFileCall(after, fs, 'mkdirSync', VIEWS), times: 6 },
  'before an erasure is noted': { arm: before(catalogue, 'putErasure', ofErasure), times: 3 },
  'after an erasure was noted': { arm: after(catalogue, 'putErasure', ofErasure), times: 3 },
  'before an erasure is lifted': { arm: before(catalogue, 'putErasure', ofLift), times: 2 },
  'after an erasure was lifted': { arm: after(catalogue, 'putErasure', ofLift), times: 2 },
  'while an erased timeline is removed': { arm: after(Timelines.prototype, 'remove'), times: 3 },
  'before a version is rid of an erasure': { arm: before(files, 'putErasedUpTo'), times: 3 },
  'before a receipt is completed': { arm: before(catalogue, 'putReceipt'), times: 4 },
  'after a receipt was completed': { arm: after(catalogue, 'putReceipt'), times: 4 },
  'before a horizon is noted': { arm: before(catalogue, 'put', ofHorizon), times: 3 },
  'after a horizon was noted': { arm: after(catalogue, 'put', ofHorizon), times: 3 },
  'after the files of a new view are noted': {
    arm: after(catalogue, 'putGeneration', ofNewView),
    times: 2,
  },
  'before a view is noted': { arm: before(catalogue, 'put', ofView), times: 2 },
  'after a view was noted': { arm: after(catalogue, 'put', ofView), times: 2 },
  'before a promotion is noted': { arm: before(catalogue, 'put', ofPromotion), times: 3 },
  'after a promotion was noted': { arm: after(catalogue, 'put', ofPromotion), times: 3 },
  'before a version is retired': { arm: before(catalogue, 'retire'), times: 2 },
  'after a version was retired': { arm: after(catalogue, 'retire'), times: 2 },
  'after a view was forgotten': { arm: after(catalogue, 'drop'), times: 2 },
  'before a drop is finished': { arm: before(catalogue, 'finishDrop'), times: 2 },
  'after a drop was finished': { arm: after(catalogue, 'finishDrop'), times: 2 },
  'in a commit of a backup': { arm: within('commit', ofBackup), times: 12 },
  'after a commit of a backup': { arm: after(environment, 'commit', ofBackup), times: 12 },
  'before a backup says that it is whole': {
    arm: atFileCall(before, fs, 'renameSync', MANIFEST, 1),
    times: 1,
  },
  'after a backup said that it is whole': {
    arm: atFileCall(after, fs, 'renameSync', MANIFEST, 1),
    times: 1,
  },
  'while a store is opened': { arm: before(environment, 'table', ofVersion), times: 8 },
  'before the end of a store is noted': {
    arm: before(catalogue, 'putClosed', atEnd),
    times: 1,
    isAtEnd: true,
  },
  'after the end of a store was noted': {
    arm: after(catalogue, 'putClosed', atEnd),
    times: 1,
    isAtEnd: true,
  },
};
