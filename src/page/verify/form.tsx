import { useState } from 'preact/hooks';
import { pastedFile } from './pasted.ts';
import type { GivenFile, Subject } from './protocol.ts';
import type { Settings } from './settings.ts';

export interface FormProps {
  readonly settings: Settings;
  readonly onSettings: (settings: Settings) => void;
  readonly onSubject: (subject: Subject) => void;
}

/** Everything that the page can be given. */
export function Form(props: FormProps) {
  return (
    <section class="inputs" aria-labelledby="input">
      <h2 id="input">What to check</h2>
      <DropArea {...props} />
      <div class="pair">
        <Paste {...props} />
        <ServiceField {...props} />
      </div>
      <PolicyField {...props} />
      <More {...props} />
    </section>
  );
}

export async function readFiles(files: Iterable<File>): Promise<readonly GivenFile[]> {
  return Promise.all(
    [...files].map(async (file) => ({
      name: file.name,
      bytes: new Uint8Array(await file.arrayBuffer()),
    })),
  );
}

function DropArea({ onSubject }: FormProps) {
  return (
    <div class="drop">
      <label for="files">
        <strong>Drop files anywhere on this page, or choose them</strong>
      </label>
      <input
        id="files"
        type="file"
        multiple
        aria-describedby="files-note"
        onChange={({ currentTarget }) => {
          const chosen = [...(currentTarget.files ?? [])];
          // So that the same file, changed, can be chosen again.
          currentTarget.value = '';
          if (chosen.length > 0) void readFiles(chosen).then((files) => onSubject({ files }));
        }}
      />
      <p id="files-note" class="small">
        A bundle, a receipt with its evidence, an evidence document, an attestation answer, a disclosure, or
        raw reports with their certificates and collateral: AMD SEV-SNP, Intel TDX and SGX, AWS Nitro, NVIDIA
        GPUs and switches. Files stay in this browser.
      </p>
    </div>
  );
}

function Paste({ onSubject }: FormProps) {
  const [text, setText] = useState('');
  return (
    <form
      class="field"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() !== '') onSubject({ files: [pastedFile(text)] });
      }}
    >
      <label for="pasted">Or paste hex, base64, JSON or PEM</label>
      <textarea
        id="pasted"
        rows={3}
        spellcheck={false}
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
      />
      <button type="submit" disabled={text.trim() === ''}>
        Check the text
      </button>
    </form>
  );
}

function ServiceField({ onSubject }: FormProps) {
  const [address, setAddress] = useState('');
  return (
    <form
      class="field"
      onSubmit={(event) => {
        event.preventDefault();
        if (address.trim() !== '') onSubject({ service: address.trim() });
      }}
    >
      <label for="service">Or ask a live service for fresh evidence</label>
      <input
        id="service"
        type="url"
        placeholder="https://inference.example"
        autocomplete="off"
        aria-describedby="service-note"
        value={address}
        onInput={({ currentTarget }) => setAddress(currentTarget.value)}
      />
      <button type="submit" disabled={address.trim() === ''}>
        Ask the service
      </button>
      <p id="service-note" class="small">
        Sends one request with a fresh nonce to this address. Nothing else on this page reaches a network.
      </p>
    </form>
  );
}

const POLICIES = [
  ['default', 'Default', 'the published one: real hardware, nothing weakened'],
  ['simulated', 'Simulated', 'exactly our simulated CPU and GPU, which protect nothing'],
  ['own', 'Your own', 'a policy as JSON'],
] as const;

function PolicyField({ settings, onSettings }: FormProps) {
  return (
    <fieldset class="policies">
      <legend>Policy</legend>
      {POLICIES.map(([value, name, note]) => (
        <label key={value}>
          <input
            type="radio"
            name="policy"
            value={value}
            checked={settings.policy === value}
            onChange={() => onSettings({ ...settings, policy: value })}
          />
          <span>
            <strong>{name}</strong> <span class="small">{note}</span>
          </span>
        </label>
      ))}
      {settings.policy === 'own' && (
        <label class="field">
          Policy as JSON
          <textarea
            rows={6}
            spellcheck={false}
            value={settings.ownPolicy}
            onInput={({ currentTarget }) => onSettings({ ...settings, ownPolicy: currentTarget.value })}
          />
        </label>
      )}
    </fieldset>
  );
}

const TEXTS = [
  ['nonce', 'The nonce that you chose', '64 hex digits'],
  ['commitmentKey', 'Commitment key of the exchange', 'base64url'],
  ['at', 'Judge for this time', 'such as 2026-11-21T12:00:00Z; empty is now'],
  ['reportData', 'Report data that a raw CPU report must carry', 'hex'],
] as const;
const CONTENTS = [
  ['request', 'Request body, as sent'],
  ['response', 'Response body, as received'],
] as const;

function More({ settings, onSettings }: FormProps) {
  return (
    <details class="more">
      <summary>More that you know: nonce, content of the exchange, time, further anchors</summary>
      <div class="grid">
        {TEXTS.map(([member, name, note]) => (
          <label class="field" key={member}>
            {name} <span class="small">{note}</span>
            <input
              type="text"
              autocomplete="off"
              spellcheck={false}
              value={settings[member]}
              onInput={({ currentTarget }) => onSettings({ ...settings, [member]: currentTarget.value })}
            />
          </label>
        ))}
        {CONTENTS.map(([member, name]) => (
          <label class="field" key={member}>
            {name}
            <input
              type="file"
              onChange={({ currentTarget }) => {
                const [file] = currentTarget.files ?? [];
                const read = file ? file.arrayBuffer() : Promise.resolve(undefined);
                void read.then((bytes) =>
                  onSettings({ ...settings, [member]: bytes && new Uint8Array(bytes) }),
                );
              }}
            />
          </label>
        ))}
        <label class="field wide">
          Further keys that you trust <span class="small">one ROLE:SPKI_SHA256 in a line</span>
          <textarea
            rows={2}
            spellcheck={false}
            value={settings.anchors}
            onInput={({ currentTarget }) => onSettings({ ...settings, anchors: currentTarget.value })}
          />
        </label>
      </div>
    </details>
  );
}
