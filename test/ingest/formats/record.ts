import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { pythonWith, runPython } from '../../python.ts';

/** Records what an independent serialiser writes, for the tests of formats: no Python is needed there. */
const HERE = import.meta.dirname;
const PACKAGES = [
  'confluent-kafka[avro,json,schemaregistry]==2.16.0',
  'fastavro==1.13.1',
  'msgpack==1.2.4',
];

const python = await pythonWith(PACKAGES);
const recorded = await runPython(python, [join(HERE, 'serialise.py')]);
await writeFile(join(HERE, '../../fixtures/serialised.json'), recorded);
process.stdout.write('wrote test/fixtures/serialised.json\n');
