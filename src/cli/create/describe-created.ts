import type { InputBinding } from '../../core/index.js';
import { markdownTable } from '../../evaluation/index.js';
import type { CreatedBundle } from './create-bundle.js';
import type { BoundInput } from './propose-contract.js';

const BEST = 3;

/** What was made, for people: the contract, the first answer and what to type next. */
export function describeCreated(created: CreatedBundle): string {
  const { bundle, inputs, output, items, notes, retrievers } = created;
  const found =
    retrievers.length === 0 ? 'nothing: it ranks the items a request names' : retrievers.join(', ');
  return [
    `${bundle}: ${items} items; found by ${found}; ranked by output ${output}`,
    contractTable(inputs),
    ...notes.map((note) => `Note: ${note}`),
    describeAnswer(created),
    nextCommands(created),
  ].join('\n\n');
}

function contractTable(inputs: readonly BoundInput[]): string {
  return markdownTable<BoundInput>(
    [
      { header: 'input', cell: ({ binding }) => binding.name },
      {
        header: 'type',
        align: 'left',
        cell: ({ binding }) => `${binding.dtype} [${binding.dims.join(', ')}]`,
      },
      { header: 'comes from', align: 'left', cell: ({ binding }) => describeSource(binding) },
      { header: 'because of', align: 'left', cell: ({ why }) => why },
    ],
    inputs,
  ).trimEnd();
}

function describeSource({ source }: InputBinding): string {
  switch (source.from) {
    case 'request':
      return source.field === 'query_vector'
        ? 'the request’s queryVector'
        : `the request’s inputs.${source.field}`;
    case 'history':
      return `the user’s last ${source.maxLength} items, row + ${source.offset}, padded in front with ${source.pad}`;
    case 'candidate':
      return `the item’s row + ${source.offset}`;
    case 'column':
      return `the item’s ${source.column}`;
    case 'vectors':
      return 'the item’s vector';
    case 'retrieval':
      return 'the score of retrieval';
    case 'request_index':
      return 'the batch: which request a row is of';
    case 'time':
      return 'the time of the request';
  }
}

function describeAnswer({ endpoint, answer }: CreatedBundle): string {
  const best = answer.items
    .slice(0, BEST)
    .map(
      ({ id, title, score }, place) =>
        `  ${place + 1}. ${id}${title === undefined ? '' : ` ${title}`}  ${score}`,
    );
  return [`Checked: /v1/${endpoint} answers examples/${endpoint}.json with`, ...best].join('\n');
}

function nextCommands({ bundle, endpoint }: CreatedBundle): string {
  const endpoints = endpoint === 'search' ? ['search', 'rank'] : ['rank'];
  const curls = endpoints.map(
    (name) =>
      `  curl -s http://127.0.0.1:8080/v1/${name} -H 'content-type: application/json' -d @${bundle}/examples/${name}.json`,
  );
  return [
    'Next:',
    ...['int8', 'pruned', 'lowrank'].map((recipe) => `  whittle compress ${bundle} --recipe ${recipe}`),
    `  whittle serve ${bundle}`,
    ...curls,
  ].join('\n');
}
