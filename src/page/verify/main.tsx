import { render } from 'preact';
import { App } from './app.tsx';

const root = document.getElementById('app');
const code = document.getElementById('worker')?.textContent ?? '';
const origin = location.protocol === 'file:' ? undefined : location.origin;
if (root) render(<App code={code} origin={origin} />, root);
