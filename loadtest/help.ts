/** What `--help` says below the options. */
export const HELP = `
It starts the server on a free port (or takes --url), with no answer cache and a store of its own, and loads it:

  (no mode)      open loop at --rate, --ramp or --steps: requests come on a schedule (Poisson), whatever becomes of
                 those before, and latency counts from the schedule. Each pipeline alone, in rounds of random order,
                 then what the server's own choice makes of it (the mixture).
  --find-rate    open loop: for each pipeline the highest rate whose p99 holds --p99 with at most 0.1 % failed, to 3 %.
  --overload 3   open loop: --rate (found where it is not given) as the peak, three times that, then half of it.
  --clients 8    open loop: 8 clients at (1 - --hot-client) x --rate, with and without a hot one that brings the rest.
  --closed-loop  every connection sends its next request when the answer is there: the peak, at saturation and not at
                 a rate.

A run of the open loop is VOID where its own lag at p99 is over 10 % of the p99 it would report.

Exit codes: 0 done, 1 failed, void, or any request was not answered with 2xx where the mode expects that it is (all but
--find-rate, --overload and --clients), 2 wrong use, 130 interrupted.

Examples:
  $ npm run loadtest
  $ npm run loadtest -- --bundle models/demo --rate 100 --seconds 30
  $ npm run loadtest -- --steps 50,100,200 --mix recommend=0.7,search=0.2,rank=0.1
  $ npm run loadtest -- --find-rate --p99 20 --pipelines full,int8
  $ npm run loadtest -- --overload 3 --p99 20 --unforced
  $ npm run loadtest -- --clients 8 --hot-client 0.6 --rate 200 --config limits.yaml
  $ npm run loadtest -- --closed-loop --connections 32 --rounds 5
  $ npm run loadtest -- --url http://127.0.0.1:8080 --pipelines full,int8
`;
