import { describe, expect, it } from 'vitest';
import type { ExperimentConfig } from '../../src/core/index.js';
import { assign, createExperiments, type Experiments } from '../../src/experiments/index.js';
import { errorCode } from '../support/error-code.js';

function experiment(name: string, enabled: boolean): ExperimentConfig {
  return {
    name,
    enabled,
    salt: `${name}-salt`,
    arms: [
      { name: 'control', weight: 3, pipeline: 'full' },
      { name: 'small', weight: 1, pipeline: 'int8' },
    ],
  };
}

describe('createExperiments', () => {
  it('assigns users in the first enabled experiment', () => {
    const experiments = createExperiments([
      experiment('off', false),
      experiment('on', true),
      experiment('later', true),
    ]);
    for (let index = 0; index < 200; index++) {
      const user = `u${String(index)}`;
      const arm = assign('on-salt', user, experiment('on', true).arms);
      expect(experiments.assign(user)).toEqual({ experiment: 'on', arm: arm.name, pipeline: arm.pipeline });
    }
  });

  it('assigns nobody where none is enabled', () => {
    expect(createExperiments([experiment('off', false)]).assign('u1')).toBeUndefined();
    expect(createExperiments([]).assign('u1')).toBeUndefined();
  });

  it('counts requests and unique users by arm', () => {
    const experiments = createExperiments([experiment('on', true)]);
    const assignment = { experiment: 'on', arm: 'small', pipeline: 'int8' };
    for (const user of ['a', 'b', 'a', undefined]) experiments.record(assignment, user);
    expect(experiments.report()).toEqual([
      {
        name: 'on',
        enabled: true,
        salt: 'on-salt',
        arms: [
          { name: 'control', weight: 3, share: 0.75, pipeline: 'full', requests: 0, users: 0 },
          { name: 'small', weight: 1, share: 0.25, pipeline: 'int8', requests: 4, users: 2 },
        ],
      },
    ]);
  });

  it('tests whether users split as the weights say', () => {
    const experiments = createExperiments([experiment('on', true)]);
    const record = (arm: string, users: number): void => {
      for (let user = 0; user < users; user++)
        experiments.record({ experiment: 'on', arm, pipeline: '' }, `${arm}${String(user)}`);
    };
    record('control', 310);
    expect(experiments.report()[0]?.sampleRatio?.mismatch).toBe(true);
    record('small', 98);
    expect(experiments.report()[0]?.sampleRatio?.pValue).toBeCloseTo(0.647434186, 9);
  });

  it('refuses repeated names and wrong weights, in experiments that are off too', () => {
    const off = experiment('off', false);
    const repeatedArm = { ...off, arms: [...off.arms, ...off.arms] };
    expect(errorCode(() => createExperiments([off, off]))).toBe('CONFIG_INVALID');
    expect(errorCode(() => createExperiments([repeatedArm]))).toBe('CONFIG_INVALID');
    expect(errorCode(() => createExperiments([{ ...off, arms: [] }]))).toBe('CONFIG_INVALID');
  });

  describe('replace', () => {
    const record = (experiments: Experiments, arm: string, users: number): void => {
      for (let user = 0; user < users; user++)
        experiments.record({ experiment: 'on', arm, pipeline: '' }, `${arm}${String(user)}`);
    };
    const before = experiment('on', true);
    const reweighted = { ...before, arms: before.arms.map((arm) => ({ ...arm, weight: 1 })) };

    it('keeps the counters of arms whose experiment keeps name and salt, without testing a mixed split', () => {
      const experiments = createExperiments([before]);
      record(experiments, 'control', 31);
      record(experiments, 'small', 10);
      expect(experiments.report()[0]?.sampleRatio?.mismatch).toBe(false);
      experiments.replace([reweighted]);
      expect(experiments.configs()).toEqual([reweighted]);
      const [report] = experiments.report();
      expect(report?.arms).toMatchObject([
        { name: 'control', share: 0.5, requests: 31, users: 31 },
        { name: 'small', share: 0.5, requests: 10, users: 10 },
      ]);
      expect(report?.sampleRatio).toBeUndefined();
      // Going back does not unmix the users.
      experiments.replace([before]);
      expect(experiments.report()[0]?.sampleRatio).toBeUndefined();
    });

    it('starts from zero with a new salt, a new arm or a new name', () => {
      const experiments = createExperiments([before]);
      record(experiments, 'control', 5);
      experiments.replace([{ ...before, salt: 'other' }]);
      expect(experiments.report()[0]?.arms[0]).toMatchObject({ requests: 0, users: 0 });
      record(experiments, 'control', 5);
      const third = { name: 'third', weight: 1, pipeline: 'full' };
      experiments.replace([{ ...before, salt: 'other', arms: [...before.arms, third] }]);
      expect(experiments.report()[0]?.arms.map(({ requests }) => requests)).toEqual([5, 0, 0]);
    });

    it('assigns by the new experiments at once, and passes over answers of arms that are gone', () => {
      const experiments = createExperiments([before]);
      const assignment = experiments.assign('u1');
      experiments.replace([{ ...before, enabled: false }]);
      expect(experiments.assign('u1')).toBeUndefined();
      experiments.replace([]);
      if (assignment !== undefined) experiments.record(assignment, 'u1');
      expect(experiments.report()).toEqual([]);
    });

    it('changes nothing where the new list is refused', () => {
      const experiments = createExperiments([before]);
      const wrong = { ...before, arms: [{ name: 'a', weight: 0, pipeline: 'full' }] };
      expect(
        errorCode(() => {
          experiments.replace([wrong]);
        }),
      ).toBe('CONFIG_INVALID');
      expect(
        errorCode(() => {
          experiments.replace([before, before]);
        }),
      ).toBe('CONFIG_INVALID');
      expect(experiments.configs()).toEqual([before]);
      expect(experiments.assign('u1')?.experiment).toBe('on');
    });
  });
});

describe('pause', () => {
  it('assigns nobody, says why on what is enabled, and goes on with the same assignments', () => {
    const arms = [
      { name: 'a', weight: 1, pipeline: 'full' },
      { name: 'b', weight: 1, pipeline: 'int8' },
    ];
    const experiments = createExperiments([
      { name: 'on', salt: 's', enabled: true, arms },
      { name: 'off', salt: 't', enabled: false, arms },
    ]);
    const before = experiments.assign('u1');
    experiments.pause('the disk is full');
    expect(experiments.assign('u1')).toBeUndefined();
    expect(experiments.report().map(({ paused }) => paused)).toEqual(['the disk is full', undefined]);
    expect(experiments.paused()).toBe('the disk is full');
    experiments.replace([{ name: 'on', salt: 's', enabled: true, arms }]);
    expect(experiments.assign('u1')).toBeUndefined();
    experiments.resume();
    expect(experiments.assign('u1')).toEqual(before);
    expect(experiments.report().map((report) => 'paused' in report)).toEqual([false]);
  });
});
