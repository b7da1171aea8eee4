"""GLSL of the persona's renderer: one material shader with six kinds, a depth shader, a backdrop.

Positions are decimetres in the persona's world. Light is a studio: warm key from the upper left, cool fill,
rim from behind, hemisphere ambient. Skin is lit by wrapped diffuse per channel (red bleeds furthest past
the terminator, as scattering makes it) and two GGX lobes; hair by Kajiya-Kay along its strands.
"""

from __future__ import annotations

KEY_FROM = (-0.64, 0.56, 0.68)
"""Where the key light comes from; its shadows are drawn by the same vector."""
SKIN, EYES, TEETH, TONGUE, HAIR, CLOTH = range(6)

VERTEX = """#version 330
uniform mat4 camera, light; uniform float back; in vec3 P; in vec3 N; in vec2 U; in vec3 A; in vec3 R;
out vec3 p; out vec3 n; out vec2 u; out vec3 s; out float ao; out float head; out float grown; out vec3 rest;
void main() {
  rest = R;
  p = P; n = N; u = U; ao = A.x; head = A.y; grown = A.z;
  s = (light * vec4(P, 1.0)).xyz * 0.5 + 0.5;
  gl_Position = camera * vec4(P, 1.0);
  gl_Position.z += back * gl_Position.w;
}"""

DEPTH_VERTEX = """#version 330
uniform mat4 light; in vec3 P; in vec2 U; out vec2 u;
void main() { u = U; gl_Position = light * vec4(P, 1.0); }"""

DEPTH_FRAGMENT = """#version 330
uniform sampler2D colour; uniform int cutout; in vec2 u;
void main() { if (cutout == 1 && texture(colour, u).a < 0.5) discard; }"""

BACKDROP_VERTEX = """#version 330
in vec2 Q; out vec2 q; void main() { q = Q; gl_Position = vec4(Q, 0.9999, 1.0); }"""

BACKDROP_FRAGMENT = """#version 330
in vec2 q; uniform vec3 tint; layout(location=0) out vec4 o; layout(location=1) out vec4 region;
float hash(vec2 x) { return fract(sin(dot(x, vec2(12.9, 78.2))) * 43758.5); }
void main() {
  float d = length((q - vec2(-0.25, 0.30)) * vec2(1.0, 0.9));
  vec3 c = mix(tint * 1.18, tint * 0.60, smoothstep(0.1, 1.9, d));
  o = vec4(c + (hash(gl_FragCoord.xy) - 0.5) * 0.008, 1.0);
  region = vec4(0.0, 0.0, 0.0, 1.0);
}"""

FRAGMENT = """#version 330
uniform sampler2D colour, detail; uniform sampler2DShadow shadows; uniform vec3 eye, tint, key_from;
uniform sampler2D creases_0, creases_1; uniform vec4 deep_left[2], deep_right[2];
uniform mat4 to_head; uniform vec4 lips; uniform vec3 mouth;
uniform int kind; uniform int blended; uniform float gain, solidity;
in vec3 p; in vec3 n; in vec2 u; in vec3 s; in float ao; in float head; in float grown; in vec3 rest;
layout(location=0) out vec4 o; layout(location=1) out vec4 region;

const vec3 KEY = vec3(1.0, 0.945, 0.88) * 1.72, FILL = vec3(0.86, 0.92, 1.0) * 0.50;
const vec3 RIM = vec3(1.0, 0.96, 0.92) * 1.9;
const vec3 LUMA = vec3(0.3, 0.5, 0.2);
const vec3 GROUND = vec3(0.21, 0.18, 0.165), SKY = vec3(0.37, 0.39, 0.42);

float hash(vec2 q) { return fract(sin(dot(q, vec2(127.1, 311.7))) * 43758.5453); }
vec3 linear(vec3 c) { return pow(c, vec3(2.2)); }
vec3 tone(vec3 x) {
  x *= 0.70;
  return clamp((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0);
}
float ggx(float nh, float r) {
  float a = r * r * r * r, d = nh * nh * (a - 1.0) + 1.0;
  return a / (3.14159 * d * d);
}

float lit(float nl) {
  float bias = 0.0036 + 0.008 * (1.0 - nl), turn = hash(gl_FragCoord.xy) * 6.283, r = 0.0;
  mat2 R = mat2(cos(turn), sin(turn), -sin(turn), cos(turn));
  for (int i = 0; i < 8; i++) {
    float a = float(i) * 2.399;
    vec2 tap = R * vec2(cos(a), sin(a)) * sqrt((float(i) + 0.5) / 8.0) * 0.017;
    r += texture(shadows, vec3(s.xy + tap, s.z - bias));
  }
  return r / 8.0;
}

float strands(float across) {
  float cell = floor(across), part = across - cell;
  return mix(hash(vec2(cell, 3.0)), hash(vec2(cell + 1.0, 3.0)), part * part * (3.0 - 2.0 * part));
}

vec3 bumped(vec3 N, float h) {
  vec3 dx = dFdx(p), dy = dFdy(p), r1 = cross(dy, N), r2 = cross(N, dx);
  float det = dot(dx, r1);
  vec3 g = sign(det) * (dFdx(h) * r1 + dFdy(h) * r2);
  return normalize(abs(det) * N - g);
}

// Depth of the skin at a crease, -1 valley .. 1 ridge, by the expression of its side.
float creased() {
  float side = smoothstep(-5.0, 5.0, rest.x);
  vec4 first = texture(creases_0, u) * 2.55 - 1.28, second = texture(creases_1, u) * 2.55 - 1.28;
  return mix(dot(first, deep_right[0]) + dot(second, deep_right[1]),
             dot(first, deep_left[0]) + dot(second, deep_left[1]), side);
}

// How far a point of the head lies inside the gap of the lips: mm below the upper, above the lower one.
vec2 between_lips(vec3 h) {
  float x = clamp((h.x - mouth.x) / mouth.y, -1.0, 1.0);
  float corner = mix(lips.z, lips.w, step(0.0, x)), middle = 1.0 - x * x;
  return vec2(mix(corner, lips.x, middle) - h.y, h.y - mix(corner, lips.y, middle));
}

void main() {
  vec4 t = texture(colour, u);
  float alpha = 1.0;
  if (kind == 4) {
    if (blended == 0) { if (t.a < 0.75 || solidity < 1.0) discard; }
    else if (solidity < 1.0) { if (t.a < 0.05) discard; alpha = t.a; }
    else { if (t.a >= 0.75 || t.a < 0.12) discard; alpha = t.a; }
    alpha *= solidity;
    // Cut hair ends strand by strand, not along a ruled line.
    if (grown < 0.60 * strands(u.x * 640.0) + 0.40 * strands(u.x * 110.0)) discard;
  }
  vec3 V = normalize(eye - p), N = normalize(n);
  if (kind >= 4 && dot(N, V) < 0.0) N = -N;
  vec3 albedo = linear(t.rgb), wrap = vec3(0.0), L = normalize(key_from);
  float rough = 0.5, spec = 0.03, lip = 0.0;
  if (kind == 0) {
    lip = clamp((1.0 - t.a) / 0.78, 0.0, 1.0);
    vec4 d = texture(detail, u * vec2(9.0, 7.0)), f = texture(detail, u * vec2(23.0, 18.0));
    // Below the chin the texture is stretched along the neck: its grain fades.
    float grain = smoothstep(-135.0, -108.0, rest.y);
    d = mix(vec4(0.5), d, grain); f = mix(vec4(0.5), f, grain);
    albedo *= 1.0 + 0.15 * (d.r - 0.5) + 0.09 * (f.g - 0.5);
    albedo *= vec3(1.0) + (d.b - 0.5) * vec3(0.05, -0.05, -0.05);
    rough = mix(0.52 + 0.16 * (d.r - 0.5), 0.36, lip);
    spec = mix(0.023, 0.032, lip);
    wrap = vec3(0.42, 0.20, 0.13);
    N = normalize(mix(N, bumped(N, (f.a + 0.6 * d.a) * 0.0050), (0.60 - 0.35 * lip) * grain));
    float fold = creased();
    N = bumped(N, fold * 0.0075);
    albedo *= vec3(1.0) - max(-fold, 0.0) * vec3(0.08, 0.125, 0.135);
  }
  float luma = dot(albedo, LUMA);
  if (kind == 1) {
    rough = 0.30; spec = 0.04; wrap = vec3(0.25, 0.16, 0.14);
    // The white of the eye is bright in the picture: the tint is for the iris.
    float iris = 1.0 - smoothstep(0.12, 0.35, luma);
    albedo = mix(albedo, vec3(luma), 0.30) * vec3(0.70, 0.66, 0.64);
    albedo *= mix(vec3(1.0), linear(tint), iris);
  }
  vec3 h = (to_head * vec4(p, 1.0)).xyz;
  vec2 inside = between_lips(h);
  float deep = max(mouth.z - h.z, 0.0), cave = 1.0;
  if (kind == 2) {
    // One rounded arch: what parts tooth from tooth is a soft line, not the side of a block.
    rough = 0.32; spec = 0.035; wrap = vec3(0.30, 0.25, 0.20);
    float gum = smoothstep(0.06, 0.14, t.r - t.g);
    vec3 arch = normalize(transpose(mat3(to_head)) * vec3(h.x / 729.0, 0.0, max(35.0 - deep, 3.0) / 1225.0));
    float parted = smoothstep(0.15, 0.75, dot(N, arch));
    vec3 tooth = vec3(0.575, 0.52, 0.435) * mix(0.60, 1.0, parted);
    albedo = mix(tooth, vec3(0.44, 0.165, 0.16) * (0.75 + 0.5 * luma), gum);
    N = normalize(mix(arch, N, 0.30));
    cave = mix(0.42, 1.0, smoothstep(-1.5, 5.0, inside.x)) * mix(0.60, 1.0, smoothstep(-1.5, 2.5, inside.y));
    cave *= exp(-max(deep - 3.0, 0.0) / 10.0);
  }
  if (kind == 3) {
    rough = 0.35; wrap = vec3(0.30, 0.10, 0.10);
    albedo = vec3(0.36, 0.10, 0.09) * (0.7 + 0.6 * t.g);
  }
  if (kind == 4) {
    // Pictures of hair give its structure, the recipe its colour.
    rough = 0.5; spec = 0.02; wrap = vec3(0.25);
    albedo = linear(tint) * mix(0.36, 1.0, smoothstep(0.0, 1.0, luma * gain)) * 1.05;
    if (solidity == 1.0) albedo *= 0.58 + 0.42 * strands(u.x * 330.0) + 0.40 * strands(u.x * 61.0);
  }
  if (kind == 5) {
    rough = 0.9; spec = 0.006; wrap = vec3(0.08);
    albedo = linear(tint) * mix(0.72, 1.12, smoothstep(0.0, 1.0, luma * gain));
  }

  float nl = dot(N, L), shadow = lit(max(nl, 0.0));
  if (kind == 2) shadow = mix(cave, shadow * cave, 0.25);
  if (kind == 3) shadow = max(shadow, 0.30);
  vec3 diffuse = clamp((vec3(nl) + wrap) / (1.0 + wrap), 0.0, 1.0);
  diffuse *= diffuse * 0.35 + 0.65;
  // The lining of the mouth has a patch of the skin's picture to itself (skin.py).
  float lining = kind == 0 && max(u.x, u.y) < 0.0135 ? 1.0 : 0.0;
  shadow = max(shadow, 0.25 * lining);
  vec3 soft = kind == 0 ? pow(vec3(shadow), vec3(0.70, 0.95, 1.0)) : vec3(shadow);
  float open = kind == 2 ? cave : (kind == 3 ? max(ao, 0.10) : max(ao, 0.14 * lining));
  vec3 A = kind == 0 ? pow(vec3(open), vec3(0.84, 1.0, 1.06)) : vec3(open);
  vec3 F = normalize(vec3(0.85, 0.12, 0.62)), B = normalize(vec3(0.55, 0.5, -0.75));
  float nf = dot(N, F), nr = max(dot(N, B), 0.0), nv = max(dot(N, V), 0.05);
  vec3 fill = clamp((vec3(nf) + wrap + 0.15) / (1.15 + wrap), 0.0, 1.0);
  vec3 ambient = mix(GROUND, SKY, N.y * 0.5 + 0.5);
  vec3 key = KEY * diffuse * soft * mix(vec3(1.0), A, 0.40);
  vec3 c = albedo * (key + FILL * fill * A + ambient * A + RIM * nr * ao);

  vec3 H = normalize(L + V), HF = normalize(F + V), HB = normalize(B + V);
  float fresnel = spec + (1.0 - spec) * pow(1.0 - max(dot(H, V), 0.0), 5.0), nh = max(dot(N, H), 0.0);
  if (kind != 4) {
    float lobe = ggx(nh, rough) * 0.75 + ggx(nh, rough * 0.6) * 0.25;
    c += KEY * lobe * fresnel * max(nl, 0.0) * shadow * 0.28 / max(nv, 0.35);
    c += FILL * ggx(max(dot(N, HF), 0.0), rough + 0.1) * spec * max(nf, 0.0) * ao * 0.5;
    float back = spec + (1.0 - spec) * pow(1.0 - max(dot(HB, V), 0.0), 5.0);
    c += RIM * ggx(max(dot(N, HB), 0.0), rough + 0.12) * back * nr * 0.35 * ao;
    c += ambient * pow(1.0 - nv, 4.0) * 0.22 * ao;
  } else {
    vec3 dx = dFdx(p), dy = dFdy(p); vec2 ux = dFdx(u), uy = dFdy(u);
    vec3 strand = dy * ux.x - dx * uy.x;
    strand = length(strand) > 1e-12 ? normalize(strand) : vec3(0.0, 1.0, 0.0);
    strand = normalize(strand - N * dot(N, strand) + N * (t.g - 0.4) * 0.35);
    float th = dot(strand, H), tb = dot(strand, HB);
    float shine = pow(sqrt(max(1.0 - th * th, 0.0)), 90.0), glow = pow(sqrt(max(1.0 - tb * tb, 0.0)), 24.0);
    vec3 gloss = KEY * shine * shadow * max(nl + 0.25, 0.0) * 0.11 + RIM * glow * nr * 0.08;
    gloss *= 0.4 + 1.2 * strands(u.x * 240.0 + 7.0);
    c += (solidity < 1.0 ? 0.04 : 1.0) * gloss * mix(linear(tint), vec3(1.0), 0.35) * ao;
  }
  if (kind == 1 && t.a < 0.5) {
    // The cornea: only its reflections, over the iris that is drawn already.
    float window = ggx(nh, 0.11) * fresnel * max(nl, 0.0) * max(shadow, 0.35);
    float second = ggx(max(dot(N, HF), 0.0), 0.13) * spec;
    vec3 g = KEY * window * 0.26 + FILL * second * 0.45 + ambient * pow(1.0 - nv, 5.0) * 0.15;
    alpha = clamp(max(g.r, max(g.g, g.b)), 0.0, 1.0);
    if (alpha < 0.02) discard;
    o = vec4(pow(tone(g), vec3(1.0 / 2.2)), alpha); region = vec4(1.0, 0.0, 0.0, alpha);
    return;
  }
  o = vec4(pow(tone(c), vec3(1.0 / 2.2)), alpha);
  region = vec4(step(0.5, head), 1.0 - step(0.5, head), 0.0, alpha);
}"""
