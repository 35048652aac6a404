/* Asks once for the token, checks it, and starts GraphiQL with it. The token stays in this tab (sessionStorage). */
'use strict';
(() => {
  const KEY = 'expgraph.token';
  const form = document.getElementById('token-form');
  const field = document.getElementById('token');
  const fault = document.getElementById('token-fault');
  const place = document.getElementById('graphiql');

  function ask(message) {
    sessionStorage.removeItem(KEY);
    fault.textContent = message;
    form.hidden = false;
    field.focus();
  }

  /** Null when the token is good, else what is wrong. */
  async function faultOf(token) {
    try {
      const answer = await fetch('/graphql', {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query: '{ __typename }' }),
      });
      if (answer.ok) return null;
      const { errors } = await answer.json();
      return errors[0].message;
    } catch (error) {
      return `The server cannot be reached: ${error.message}`;
    }
  }

  function start(token) {
    sessionStorage.setItem(KEY, token);
    form.hidden = true;
    place.hidden = false;
    const authorization = `Bearer ${token}`;
    const address = new URL('/graphql', location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const wsClient = graphqlWs.createClient({ url: address.href, connectionParams: { authorization } });
    const fetcher = GraphiQL.createFetcher({ url: '/graphql', headers: { authorization }, wsClient });
    ReactDOM.createRoot(place).render(React.createElement(GraphiQL, {
      fetcher,
      isHeadersEditorEnabled: false,
      defaultQuery: '# What happens, as it happens. Every type is described in the documentation on the left.\nsubscription {\n  jobEvents {\n    __typename\n  }\n}\n',
    }));
  }

  async function open(token) {
    const message = await faultOf(token);
    if (message === null) start(token);
    else ask(message);
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void open(field.value.trim());
  });
  const kept = sessionStorage.getItem(KEY);
  if (kept) void open(kept);
  else ask('');
})();
