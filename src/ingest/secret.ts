import { readFileSync } from 'node:fs';

import { TidemarkError } from '../ground/errors.ts';

/** A secret of the settings, or of the file that they name instead. */
export interface SecretConfig {
  password?: string | undefined;
  password_file?: string | undefined;
}

/**
 * The secret, or the empty text where there is none. A line break at the end of a file is no part
 * of it. Throws BAD_CONFIG, without what the file holds.
 */
export function readSecret(setting: string, { password, password_file }: SecretConfig): string {
  if (password_file === undefined) return password ?? '';
  return readSecretFile(`${setting}.password_file`, password_file);
}

export function readSecretFile(setting: string, file: string): string {
  return readSetting(setting, file).replace(/\r?\n$/, '');
}

/** The text of the file that a setting names, as it is now. Throws BAD_CONFIG. */
export function readSetting(setting: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'it is no text';
    throw new TidemarkError('BAD_CONFIG', `${setting}: the file ${file} cannot be read (${why})`);
  }
}
