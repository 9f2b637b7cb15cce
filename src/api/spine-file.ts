import { TidemarkError } from '../ground/errors.ts';
import { excerpt } from '../ground/excerpt.ts';
import { SPINE_EXTENSIONS, spineFormatOf } from '../timetravel/spine/naming.ts';
import type { SpineFormat } from '../timetravel/spine/window.ts';
import { type ServerFile, serverFile } from './server-file.ts';

/** A spine on the server's own disk. Throws BAD_REQUEST. */
export function spineFile(
  path: string,
  format: SpineFormat | undefined,
  directories: readonly string[],
): ServerFile & { format: SpineFormat } {
  const allowed = { what: 'spine', setting: 'exports.spine_directories', directories };
  const found = serverFile(path, allowed);
  const known = format ?? spineFormatOf(path);
  if (known !== undefined) return { ...found, format: known };
  throw new TidemarkError(
    'BAD_REQUEST',
    `the spine ${excerpt(path)} ends with none of ${SPINE_EXTENSIONS.join(', ')}; say its format`,
  );
}
