/** What is asked in every block: users with their candidates. */
export interface RankQuestion {
  readonly user: string;
  readonly items: readonly string[];
}

/** `count` users of the server, each with the `candidates` items that its first retriever finds. */
export async function rankQuestions(url: string, count: number, candidates: number): Promise<RankQuestion[]> {
  const { users } = (await (await fetch(`${url}/v1/users?limit=${count * 2}`)).json()) as { users: string[] };
  const questions: RankQuestion[] = [];
  for (const user of users) {
    const answer = await fetch(`${url}/v1/recommend`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user, k: candidates }),
    });
    const { items = [] } = (await answer.json()) as { items?: { id: string }[] };
    // A user who has seen nearly everything has fewer.
    if (items.length === candidates) questions.push({ user, items: items.map(({ id }) => id) });
    if (questions.length === count) break;
  }
  if (questions.length === 0) throw new Error(`No user of ${url} has ${candidates} candidates`);
  return questions;
}
