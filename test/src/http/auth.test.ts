import { describe, expect, test } from '@jest/globals';
import { Gate } from '../../../src/http/auth.ts';
import { ServiceError } from '../../../src/http/errors.ts';
import type { Headed } from '../../../src/http/request.ts';
import { apiKey, testConfig } from '../../support/service.ts';

const [tenant, auditor, admin] = [apiKey('alice'), apiKey('audit'), apiKey('root')];
const ALL = {
  apiKeys: [tenant.entry],
  auditorKeys: [auditor.entry],
  adminKeySha256: admin.entry.sha256,
};

function asking(key?: string): Headed {
  return { headers: key === undefined ? {} : { authorization: `Bearer ${key}` } };
}

function codeOf(ask: () => unknown): unknown {
  try {
    return ask();
  } catch (error) {
    if (error instanceof ServiceError) return `${error.status} ${error.code}`;
    throw error;
  }
}

describe('the gate', () => {
  const gate = new Gate(testConfig({ keys: ALL }));

  test('knows the role and name of each key', () => {
    expect(gate.roleOf(asking(tenant.key))).toEqual({ role: 'tenant', name: 'alice' });
    expect(gate.roleOf(asking(auditor.key))).toEqual({ role: 'auditor', name: 'audit' });
    expect(gate.roleOf(asking(admin.key))).toEqual({ role: 'admin', name: 'admin' });
    expect(codeOf(() => gate.roleOf(asking()))).toBe('401 API_KEY_MISSING');
    expect(codeOf(() => gate.roleOf(asking('another')))).toBe('401 API_KEY_INVALID');
  });

  test('lets tenants alone ask for answers', () => {
    expect(gate.tenantOf(asking(tenant.key))).toBe('alice');
    expect(codeOf(() => gate.tenantOf(asking(auditor.key)))).toBe('403 ROLE_FORBIDDEN');
    expect(codeOf(() => gate.tenantOf(asking(admin.key)))).toBe('403 ROLE_FORBIDDEN');
  });

  test('lets auditors and the admin alone read what is everybody’s', () => {
    expect(gate.requireAuditor(asking(auditor.key))).toEqual({ role: 'auditor', name: 'audit' });
    expect(gate.requireAuditor(asking(admin.key)).role).toBe('admin');
    expect(codeOf(() => gate.requireAuditor(asking(tenant.key)))).toBe('403 ROLE_FORBIDDEN');
    for (const key of [undefined, 'another']) {
      expect(codeOf(() => gate.requireAuditor(asking(key)))).toBe('401 AUDITOR_KEY_REQUIRED');
    }
  });

  test('takes an auditor for no admin', () => {
    expect(codeOf(() => gate.requireAdminKey(asking(auditor.key)))).toBe('401 ADMIN_KEY_REQUIRED');
    expect(codeOf(() => gate.requireAdmin(asking(auditor.key)))).toBe('401 ADMIN_KEY_REQUIRED');
    expect(gate.requireAdminKey(asking(admin.key)).name).toBe('admin');
  });

  test('is open on loopback without keys, but to no auditor', () => {
    const open = new Gate(testConfig());
    expect(open.tenantOf(asking())).toBeUndefined();
    expect(open.roleOf(asking('any'))).toEqual({ role: 'tenant', name: undefined });
    expect(codeOf(() => open.requireAdmin(asking()))).toBeUndefined();
    expect(codeOf(() => open.requireAuditor(asking()))).toBe('401 AUDITOR_KEY_REQUIRED');
  });

  test('knows auditors also where tenants need no key', () => {
    const mixed = new Gate(testConfig({ keys: { ...ALL, required: 'never' } }));
    expect(mixed.roleOf(asking(auditor.key)).role).toBe('auditor');
    expect(mixed.roleOf(asking(tenant.key))).toEqual({ role: 'tenant', name: undefined });
  });
});

test.each([
  ['tenant and auditor', { apiKeys: [tenant.entry], auditorKeys: [{ ...tenant.entry, name: 'b' }] }],
  ['auditor and admin', { auditorKeys: [auditor.entry], adminKeySha256: auditor.entry.sha256 }],
])('one key cannot be of %s', (_roles, keys) => {
  expect(() => testConfig({ keys })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
