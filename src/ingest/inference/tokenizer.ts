import { join } from 'node:path';

import { Tokenizer as HuggingFace } from 'tokenizers';

import { TidemarkError } from '../../ground/errors.ts';
import { messageOf } from './failure.ts';
import { hashText } from './hashing-tokenizer.ts';
import type { Manifest } from './manifest.ts';
import type { Tokens } from './tokens.ts';

export interface Tokenizer {
  /** The tokens of each text, cut to the model's `max_tokens`, not padded. */
  encode(texts: string[]): Promise<Tokens[]>;
}

/** The tokenizer that a model's manifest names. Throws MODEL_INVALID when it cannot be loaded. */
export function openTokenizer(folder: string, manifest: Manifest): Tokenizer {
  const { tokenizer: config, max_tokens: tokensMax } = manifest;
  if (config.kind === 'hashing') {
    return {
      encode: async (texts) => texts.map((text) => hashText(text, config, tokensMax)),
    };
  }
  const tokenizer = loadHuggingFace(join(folder, config.file));
  // The file's own limits are those of whoever saved it; ours are in the manifest, and a batch is
  // padded to its own longest row and no further.
  tokenizer.setTruncation(tokensMax);
  tokenizer.disablePadding();
  return {
    async encode(texts) {
      const encodings = await tokenizer.encodeBatch(texts);
      return encodings.map((encoding) => {
        const ids = encoding.getIds();
        const isTruncated = ids.length >= tokensMax && encoding.getOverflowing().length > 0;
        return { ids, isTruncated };
      });
    },
  };
}

function loadHuggingFace(path: string): HuggingFace {
  try {
    return HuggingFace.fromFile(path);
  } catch (error) {
    throw new TidemarkError('MODEL_INVALID', `${path} is no tokenizer: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
