// A real OpenID Connect provider for the tests of sign-in: three accounts, and nobody is shown a form.
//
//   node provider.mjs --port 0 --redirect-url URL --secret SECRET [--claims-in-id-token]
//
// Prints its issuer on one line once it listens, and ends with its standard input. Who signs in is named by
// `login_hint`; any name but those of the accounts refuses to. The client is `marginstream`; the clients
// `faulty-…` are given ID tokens with that fault, as a provider would not give them.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { decodeJwt, importJWK, SignJWT, UnsecuredJWT } from 'jose';
import Provider from 'oidc-provider';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'redirect-url': { type: 'string' },
    secret: { type: 'string' },
    'claims-in-id-token': { type: 'boolean', default: false },
  },
});

// Standard output is for the issuer alone: whoever started this reads one line of it.
console.info = console.error;

const ACCOUNTS = {
  ada: { email: 'ada@example.com', email_verified: true },
  grace: { email: 'Grace@example.com', email_verified: true },
  mallory: { email: 'ada@example.com', email_verified: false },
};

const newKey = () => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  alg: 'RS256',
  use: 'sig',
});
const key = newKey();
// Two providers on one port, one after the other, have keys of different names.
key.kid = key.n.slice(0, 16);

const sign = async (claims, jwk) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: key.kid }).sign(await importJWK(jwk, 'RS256'));
const FAULTS = {
  'faulty-audience': (claims) => sign({ ...claims, aud: 'another-client' }, key),
  'faulty-issuer': (claims) => sign({ ...claims, iss: 'https://another.example.com' }, key),
  'faulty-nonce': (claims) => sign({ ...claims, nonce: 'of-another-sign-in' }, key),
  'faulty-expiry': (claims) => sign({ ...claims, iat: claims.iat - 7200, exp: claims.iat - 3600 }, key),
  'faulty-key': (claims) => sign(claims, newKey()),
  'faulty-access-token': (claims) => sign({ ...claims, at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }, key),
  'faulty-unsigned': (claims) => new UnsecuredJWT(claims).encode(),
  'faulty-shared-secret': (claims) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(options.secret)),
};

function newProvider(issuer) {
  const provider = new Provider(issuer, {
    clients: ['marginstream', ...Object.keys(FAULTS)].map((client_id) => ({
      client_id,
      client_secret: options.secret,
      redirect_uris: [options['redirect-url']],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    })),
    jwks: { keys: [key] },
    cookies: { keys: ['of-no-importance'] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: !options['claims-in-id-token'],
    features: { devInteractions: { enabled: false } },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'HS256'] },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    pkce: { methods: ['S256'], required: () => true },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...ACCOUNTS[sub] }) }),
    async loadExistingGrant(ctx) {
      const grant = new provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid email');
      await grant.save();
      return grant;
    },
  });
  provider.use(async (ctx, next) => {
    await next();
    const fault = FAULTS[ctx.oidc?.client?.clientId];
    if (ctx.oidc?.route === 'token' && ctx.body?.id_token && fault) {
      const id_token = await fault(decodeJwt(ctx.body.id_token));
      ctx.body = { ...ctx.body, id_token };
    }
  });
  return provider;
}

async function signIn(provider, request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const result =
    params.login_hint in ACCOUNTS
      ? { login: { accountId: params.login_hint } }
      : { error: 'access_denied', error_description: 'nobody signed in' };
  await provider.interactionFinished(request, response, result);
}

const server = createServer();
server.listen(Number(options.port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = newProvider(issuer);
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (request.url.startsWith('/interaction/')) {
      signIn(provider, request, response).catch((error) => response.writeHead(500).end(String(error)));
    } else {
      answer(request, response);
    }
  });
  console.log(issuer);
});
process.stdin.on('end', () => process.exit()).resume();
