import { expect, test } from '@jest/globals';
import { makeFolder } from '../support/service.ts';
import { describeMachine } from './machine.ts';
import { start } from './rows.ts';
import { expectNothingFalse, expectWhole } from './wholeService.ts';

describeMachine('two instances', (machine) => {
  test('of one data folder on one machine: each has a log and evidence of its own', async () => {
    const folder = await makeFolder();
    const services = [await start(machine(), { folder }), await start(machine(), { folder })];
    await Promise.all(services.map((service) => expectWhole(service)));
    const { instances } = await expectNothingFalse(services);
    expect(instances).toBe(2);
  });
});
