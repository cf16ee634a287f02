import type { LoadedModel } from '../engine/engine.ts';
import { type ChatMessage, PromptTemplate } from '../models/chatTemplate.ts';
import { ServiceError } from './errors.ts';
import { invalid } from './generationSettings.ts';

/** Templates as they were parsed: a model lives as long as the service. */
const TEMPLATES = new WeakMap<object, PromptTemplate>();

/** Writes the prompt of a conversation, with the tools that may be called, as the model expects it. */
export function chatTemplateOf(
  model: LoadedModel,
): (messages: readonly ChatMessage[], tools: readonly object[]) => string {
  if (!model.tasks.includes('generate')) {
    throw new ServiceError('UNSUPPORTED_TASK', 'the model does not generate', 'model');
  }
  const { chatTemplate } = model;
  if (!chatTemplate) {
    throw new ServiceError('CHAT_TEMPLATE_MISSING', 'the model has no chat template', 'model');
  }
  const template = TEMPLATES.get(chatTemplate) ?? new PromptTemplate(chatTemplate.template);
  TEMPLATES.set(chatTemplate, template);
  return (messages, tools) => {
    try {
      return template.render(messages, chatTemplate, tools);
    } catch {
      // What a template raises may quote the conversation.
      throw invalid('messages', 'the chat template of the model does not take these messages');
    }
  };
}
