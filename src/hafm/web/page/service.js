// The JSON service under /v1: this page uses nothing else.

import { WORDS } from "./words.js";

export class ServiceError extends Error {
  constructor(status, body, retry) {
    super(status === 503 && retry ? WORDS.too_busy(retry) : body?.error?.message ?? WORDS.failed);
    this.status = status;
    this.kind = body?.error?.kind;
  }
}

async function ask(method, path, values, options = {}) {
  const request = { method, ...options };
  if (values !== undefined) {
    request.body = JSON.stringify(values);
    request.headers = { "content-type": "application/json" };
  }
  let answer;
  try {
    answer = await fetch(`/v1${path}`, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, { error: { message: WORDS.lost } });
  }
  const text = await answer.text();
  let body = null;
  try { body = text ? JSON.parse(text) : null; } catch { body = null; }
  if (!answer.ok) throw new ServiceError(answer.status, body, answer.headers.get("retry-after"));
  return body;
}

export const service = {
  about: () => ask("GET", ""),
  projects: () => ask("GET", "/projects"),
  project: (id) => ask("GET", `/projects/${id}`),
  change: (id, values) => ask("PATCH", `/projects/${id}`, values),
  remove: (id) => ask("DELETE", `/projects/${id}`),
  example: () => ask("POST", "/example"),
  hearing: (id) => ask("GET", `/projects/${id}/hearing`),
  sheet: (id) => ask("GET", `/projects/${id}/lead-sheet`),
  putSheet: (id, sheet) => ask("PUT", `/projects/${id}/lead-sheet`, { sheet }),
  edit: (id, edit) => ask("POST", `/projects/${id}/lead-sheet/edits`, { edit }),
  chart: (values) => ask("POST", "/charts", values),
  analyse: (id, values) => ask("POST", `/projects/${id}/analyse`, values),
  makeTakes: (id, values) => ask("POST", `/projects/${id}/takes`, values),
  removeTake: (id, number) => ask("DELETE", `/projects/${id}/takes/${number}`),
  pack: (id, values) => ask("POST", `/projects/${id}/exports`, values),
  cancel: (id) => ask("DELETE", `/jobs/${id}`),
  job: (id) => ask("GET", `/jobs/${id}`),

  // A recording; `onShare` is called with the share that was sent.
  upload(blob, name, { wait = false, onShare = () => {} } = {}) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch does not say how much was sent
      request.open("POST", `/v1/projects?name=${encodeURIComponent(name)}&wait=${wait}`);
      request.setRequestHeader("content-type", "application/octet-stream");
      request.upload.onprogress = (event) => event.lengthComputable && onShare(event.loaded / event.total);
      request.onerror = () => reject(new ServiceError(0, { error: { message: WORDS.lost } }));
      request.onload = () => {
        let body = null;
        try { body = JSON.parse(request.responseText); } catch { body = null; }
        if (request.status < 300) resolve(body);
        else reject(new ServiceError(request.status, body, request.getResponseHeader("retry-after")));
      };
      request.send(blob);
    });
  },

  // Follows a job to its end. Resolves with it when it is done; rejects when it failed or was stopped.
  follow(id, onNews = () => {}) {
    return new Promise((resolve, reject) => {
      const events = new EventSource(`/v1/jobs/${id}/events`);
      let lost = 0;
      const end = (job) => {
        events.close();
        if (job.state === "done") resolve(job);
        else if (job.state === "cancelled") reject(Object.assign(new Error(WORDS.steps.cancelled), { cancelled: true }));
        else reject(Object.assign(new ServiceError(500, { error: job.error }), { job }));
      };
      events.onmessage = (event) => {
        lost = 0;
        const job = JSON.parse(event.data);
        onNews(job);
        if (["done", "failed", "cancelled"].includes(job.state)) end(job);
      };
      events.onerror = async () => {
        try {
          const job = await service.job(id);
          if (["done", "failed", "cancelled"].includes(job.state)) end(job);
        } catch (error) {
          lost += 1;
          if (error.status === 404 || lost > 3) { events.close(); reject(error); }
        }
      };
    });
  },
};
