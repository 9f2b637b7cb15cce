import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { type Child, startChild } from '../harness/child.ts';
import { serverCores } from '../harness/cores.ts';

export interface ConstantServer extends Child {
  url: string;
  bytes: number;
}

interface Question {
  url: string;
  path: string;
  accept: string;
  /** JSON; a GET where there is none. */
  body?: string;
}

/** Asks a server once, and starts one that answers everything with just those bytes. */
export async function startConstant(folder: string, question: Question): Promise<ConstantServer> {
  const { url, path, accept, body } = question;
  const asked = await fetch(`${url}${path}`, {
    headers: { accept, 'content-type': 'application/json' },
    ...(body !== undefined && { method: 'POST', body }),
  });
  const bytes = Buffer.from(await asked.arrayBuffer());
  if (!asked.ok) throw new Error(`${path}: ${asked.status} ${bytes.toString()}`);
  const file = join(folder, `constant-${bytes.byteLength}`);
  await writeFile(file, bytes);
  const type = asked.headers.get('content-type')!;
  const child = await startChild({
    command: process.execPath,
    args: [join(import.meta.dirname, 'constant.ts'), file, type],
    cores: serverCores(),
    ready: /listens at (\S+)/,
  });
  return { ...child, url: child.ready[1]!, bytes: bytes.byteLength };
}
