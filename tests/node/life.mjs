// A whole life of one container, by the JavaScript client and the contract alone.
//
// Environment: URL, TOKEN, IMAGE, COMMAND (JSON list), CODE_PATH; optional: NAME, TRANSPORTS (JSON
// list; the client's default is polling, then an upgrade), TIMEOUT (seconds of each step).
// The flow answers the command "echo" with its data.
//
// Prints one JSON object {answers, events, transport}; exits with 1 on the first surprise.

import { isDeepStrictEqual } from "node:util";
import { io } from "socket.io-client";

const env = process.env;
const patience = Number(env.TIMEOUT ?? 30) * 1000;
const answers = {};
const events = [];
const waiting = new Set();

class Surprise extends Error {}

function expect(condition, told, seen) {
  if (!condition) throw new Surprise(`${told}: ${JSON.stringify(seen)}`);
}

// Resolves with the body of the first event, from `since` on, that the test accepts.
function event(name, test = () => true, since = 0) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(reject, new Surprise(`no event ${name}`)), patience);
    const finish = (settle, value) => {
      clearTimeout(timer);
      waiting.delete(look);
      settle(value);
    };
    const look = () => {
      const found = events.slice(since).find((told) => told.name === name && test(told.body));
      if (found) finish(resolve, found.body);
    };
    waiting.add(look);
    look();
  });
}

// Sends a request; the response event and the acknowledgement must be one.
async function ask(socket, request, response, payload, expected = {}) {
  const since = events.length;
  const answer = await socket.timeout(patience).emitWithAck(request, payload);
  await event(response, (body) => isDeepStrictEqual(body, answer), since);
  for (const [key, value] of Object.entries(expected)) {
    expect(isDeepStrictEqual(answer[key], value), `${request} answered another ${key}`, answer);
  }
  answers[request] = answer;
  return answer;
}

function connected(auth) {
  const transports = env.TRANSPORTS ? { transports: JSON.parse(env.TRANSPORTS) } : {};
  return io(env.URL, { auth, reconnection: false, ...transports });
}

async function refusedWithoutToken() {
  const socket = connected({ token: "not the token" });
  const error = await new Promise((resolve, reject) => {
    socket.on("connect_error", resolve);
    socket.on("connect", () => reject(new Surprise("let in without the token")));
  });
  socket.close();
  expect(error.data?.error_type === "validation_error", "refused in another way", error.data);
  answers.refused = error.data;
}

// More requests at once than fit into one HTTP request of the server's engine.
async function burst(socket) {
  const asked = Array.from({ length: 40 }, () =>
    socket.timeout(patience).emitWithAck("list_containers", {}),
  );
  const told = await Promise.all(asked);
  expect(told.every((answer) => Array.isArray(answer.containers)), "burst failed", told);
}

async function live(socket) {
  const name = env.NAME ?? "node-life";
  const greeted = event("connected");
  await burst(socket);
  await greeted;
  expect(events[0].name === "connected", "another event came first", events[0]);

  const spec = { image: env.IMAGE, name, command: JSON.parse(env.COMMAND) };
  const more = { code_path: env.CODE_PATH, stop_timeout: 2 };
  const { container_id } = await ask(
    socket,
    "create_container",
    "container_created",
    { ...spec, ...more },
    { name, status: "created" },
  );
  const it = (body) => body.container_id === container_id;
  const running = { container_id, status: "running" };

  await ask(socket, "start_container", "container_started", { container_id }, running);
  await event("socket_connected", it);

  const message = { command: "echo", data: { text: "ü ☃", n: 1 }, id: "q1" };
  const sent = await ask(
    socket,
    "send_message",
    "message_sent",
    { container_id, message, reply: true, timeout: 10 },
    { container_id, message, status: "sent" },
  );
  expect(isDeepStrictEqual(sent.reply?.data, message.data), "another reply came", sent);

  let since = events.length;
  const update = { container_id, code_path: env.CODE_PATH };
  await ask(socket, "update_container", "container_updated", update, {
    container_id,
    code_path: env.CODE_PATH,
    status: "updated",
  });
  await event("socket_connected", it, since);

  since = events.length;
  await ask(socket, "restart_container", "container_restarted", { container_id }, running);
  const again = await event("socket_connected", it, since);
  expect(again.reconnected === true, "the channel is said to be new", again);

  const stopped = { container_id, status: "stopped" };
  await ask(socket, "stop_container", "container_stopped", { container_id }, stopped);
  await event("status_changed", (body) => it(body) && body.new_state === "stopped", since);

  const missing = { container_id: "ffffffffffff" };
  await ask(socket, "start_container_of_nobody", "error", missing, {
    error_type: "validation_error",
  });
  const deleted = { container_id, status: "deleted" };
  await ask(socket, "delete_container", "container_deleted", { container_id }, deleted);
  await ask(socket, "get_container_status", "error", { container_id }, {
    error_type: "container_not_found",
  });
}

async function main() {
  await refusedWithoutToken();
  const socket = connected({ token: env.TOKEN });
  socket.onAny((name, body) => {
    events.push({ name, body });
    for (const look of [...waiting]) look();
  });
  const failed = new Promise((_, reject) => {
    socket.on("connect_error", (error) => reject(new Surprise(`not let in: ${error.message}`)));
    socket.on("disconnect", (reason) => reject(new Surprise(`disconnected: ${reason}`)));
  });
  await Promise.race([live(socket), failed]);
  const transport = socket.io.engine.transport.name;
  socket.off("disconnect");
  socket.close();
  return { answers, events, transport };
}

try {
  const told = await main();
  process.stdout.write(JSON.stringify(told) + "\n", () => process.exit(0));
} catch (error) {
  console.error(error instanceof Surprise ? `Surprise: ${error.message}` : error);
  console.error(JSON.stringify(events.slice(-5)));
  process.exit(1);
}
