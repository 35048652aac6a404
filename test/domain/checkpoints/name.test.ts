import { describe, expect, it } from 'vitest';
import { parseCheckpointName } from '../../../src/domain/checkpoint-name.ts';

describe('the name of a checkpoint', () => {
  it.each<[string, number | null, number | null, string[]]>([
    ['epoch=3-step=500.ckpt', 500, 3, []],
    ['epoch=3-step=500-v1.ckpt', 500, 3, []],
    ['epoch=3-val_loss=0.23.ckpt', null, 3, []],
    ['last.ckpt', null, null, ['last']],
    ['last-v2.ckpt', null, null, ['last']],
    ['best.ckpt', null, null, ['best']],
    ['model_best.pth.tar', null, null, ['best']],
    ['best-epoch=7.ckpt', null, 7, ['best']],
    ['checkpoint-500', 500, null, []],
    ['epoch_10.pt', null, 10, []],
    ['checkpoint_epoch_10.pt', null, 10, []],
    ['step_500.pt', 500, null, []],
    ['iter_0000500', 500, null, []],
    ['global_step500', 500, null, []],
    ['model_500.json', 500, null, []],
    ['model.500.pt', 500, null, []],
    ['rl_model_500_steps.zip', 500, null, []],
    ['gpt2-step-500.ckpt', 500, null, []],
    ['00000500.pt', 500, null, []],
    ['resnet50.pt', null, null, []],
    ['llama-7b-final.pt', null, null, ['final']],
    ['blast.pt', null, null, []],
    ['step_99999999999999999999.pt', null, null, []],
    ['epoch_9999999999.pt', null, null, []],
    ['', null, null, []],
  ])('%s', (name, step, epoch, aliases) => expect(parseCheckpointName(name)).toMatchObject({ step, epoch, aliases }));
});
