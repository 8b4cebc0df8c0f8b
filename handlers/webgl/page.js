// The page in which models are drawn. It asks for nothing: models are put into it piece by piece (`put`), and
// what is drawn is given back as text. Python calls `studio` and holds every limit; see studio.py.

import * as THREE from 'three';
import { DRACOLoader } from '/loaders/DRACOLoader.js';
import { GLTFLoader } from '/loaders/GLTFLoader.js';
import { RoomEnvironment } from '/environments/RoomEnvironment.js';
import { MeshoptDecoder } from '/libs/meshopt_decoder.module.js';

const ENVIRONMENT_BLUR = 0.04; // radians
const MARGIN = 1.04; // around a model that is framed automatically

let files = new Map(); // name -> pieces
let renderer = null; // kept from model to model, with its environment
let isSmooth = null; // whether the renderer smooths edges
let room = null; // the environment
let isLost = false;
let shown = null; // scene, camera, options, and what is to be freed

function rendererOf(wanted) {
  if (renderer !== null && isSmooth === wanted) return renderer;
  dropRenderer();
  renderer = new THREE.WebGLRenderer({ alpha: true, antialias: wanted, powerPreference: 'high-performance' });
  const { domElement } = renderer;
  domElement.addEventListener('webglcontextlost', () => { isLost ||= domElement === renderer?.domElement; });
  renderer.toneMapping = THREE.NeutralToneMapping;
  renderer.debug.onShaderError = (gl, program) => {
    throw new Error(`a shader does not compile: ${gl.getProgramInfoLog(program)}`);
  };
  isSmooth = wanted;
  isLost = false;
  return renderer;
}

function dropRenderer() {
  if (renderer === null) return;
  room?.dispose();
  renderer.dispose();
  renderer.forceContextLoss();
  renderer = room = isSmooth = null;
}

function environment() {
  if (room === null) {
    const generator = new THREE.PMREMGenerator(renderer);
    const scene = new RoomEnvironment();
    room = generator.fromScene(scene, ENVIRONMENT_BLUR);
    scene.dispose();
    generator.dispose();
  }
  return room.texture;
}

function lamps() {
  // A key light at the camera's upper left, and light from sky and ground; they go with the camera.
  const group = new THREE.Group();
  const key = new THREE.DirectionalLight(0xffffff, 2.5);
  key.position.set(-0.6, 0.8, 1);
  group.add(key, key.target);
  return { key: group, sky: new THREE.HemisphereLight(0xffffff, 0x606068, 1.5) };
}

// The loader asks for nothing but what was put here before.
function manager() {
  const urls = [];
  const made = new THREE.LoadingManager();
  made.setURLModifier((url) => {
    if (/^(blob|data):/.test(url) || url.startsWith(`${location.origin}/libs/`)) return url;
    const name = decodeURIComponent(url.replace(/^\.\//, ''));
    if (!files.has(name)) throw new Error(`the file '${name.slice(0, 200)}' was not handed over`);
    const made = URL.createObjectURL(new Blob(files.get(name)));
    urls.push(made);
    return made;
  });
  return { made, free: () => urls.forEach(URL.revokeObjectURL) };
}

async function load(name) {
  const bytes = await new Blob(files.get(name)).arrayBuffer();
  const { made, free } = manager();
  const failed = [];
  made.onError = (url) => failed.push(url.slice(0, 100));
  const draco = new DRACOLoader(made).setDecoderPath(`${location.origin}/libs/draco/gltf/`);
  const loader = new GLTFLoader(made).setDRACOLoader(draco).setMeshoptDecoder(MeshoptDecoder);
  try {
    const gltf = await loader.parseAsync(bytes, '');
    if (failed.length) throw new Error(`${failed.length} of its images cannot be read`);
    return gltf;
  } finally {
    draco.dispose();
    free();
  }
}

function sphereOf(root) {
  // The radius is that of the points, which is smaller than that of their box: the model fills the picture.
  root.updateMatrixWorld(true);
  const box = new THREE.Box3().setFromObject(root, true);
  if (box.isEmpty() || !isFinite(box.getSize(new THREE.Vector3()).length())) return null;
  const center = box.getCenter(new THREE.Vector3());
  let square = 0;
  const point = new THREE.Vector3();
  root.traverse((node) => {
    const positions = node.geometry?.attributes.position;
    if (!positions || node.isInstancedMesh || node.isSkinnedMesh) return;
    for (let i = 0; i < positions.count; i += 1) {
      point.fromBufferAttribute(positions, i).applyMatrix4(node.matrixWorld);
      square = Math.max(square, point.distanceToSquared(center));
    }
  });
  const half = box.getSize(point).length() / 2;
  let hasOthers = false;
  root.traverse((node) => { hasOthers ||= Boolean(node.isInstancedMesh || node.isSkinnedMesh); });
  return { box, center, radius: hasOthers || square === 0 ? half : Math.min(half, Math.sqrt(square)) };
}

function placed(options, sphere) {
  // Where the camera of the first frame is, what it looks at, and how far it sees.
  const target = options.target ? new THREE.Vector3(...options.target) : sphere.center.clone();
  const half = THREE.MathUtils.degToRad(options.fov / 2);
  const narrow = Math.min(half, Math.atan(Math.tan(half) * options.width / options.height));
  const radius = sphere.radius || 1;
  let position;
  if (options.camera) {
    position = new THREE.Vector3(...options.camera);
  } else {
    const around = THREE.MathUtils.degToRad(options.azimuth);
    const up = THREE.MathUtils.degToRad(options.elevation);
    const way = new THREE.Vector3(Math.sin(around) * Math.cos(up), Math.sin(up), Math.cos(around) * Math.cos(up));
    position = way.multiplyScalar(MARGIN * radius / Math.sin(narrow)).add(target);
  }
  return { target, position, radius };
}

function aim(camera, frame, place, sphere, count) {
  const offset = place.position.clone().sub(place.target);
  offset.applyAxisAngle(new THREE.Vector3(0, 1, 0), frame / count * 2 * Math.PI);
  camera.position.copy(place.target).add(offset);
  camera.up.set(0, 1, 0);
  if (Math.hypot(offset.x, offset.z) < 1e-6 * offset.length()) camera.up.set(0, 0, -1); // straight from above
  camera.lookAt(place.target);
  const distance = camera.position.distanceTo(sphere.center);
  camera.near = Math.max(distance - place.radius * 1.01, (distance + place.radius) / 5000);
  camera.far = (distance + place.radius) * 1.01;
  camera.updateProjectionMatrix();
}

function freeScene(scene) {
  const seen = new Set();
  const free = (thing) => {
    if (thing && !seen.has(thing)) {
      seen.add(thing);
      thing.image?.close?.(); // of a texture: a bitmap
      thing.dispose?.();
    }
  };
  scene.traverse((node) => {
    free(node.geometry);
    free(node.skeleton);
    for (const material of [node.material].flat().filter(Boolean)) {
      Object.values(material).filter((value) => value?.isTexture && value !== room?.texture).forEach(free);
      free(material);
    }
    if (node.isInstancedMesh || node.isLight) node.dispose?.();
  });
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

globalThis.studio = {
  // Tell what draws here.
  about() {
    const gl = rendererOf(true).getContext();
    const names = gl.getExtension('WEBGL_debug_renderer_info');
    return {
      renderer: names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : null,
      maxTexture: gl.getParameter(gl.MAX_TEXTURE_SIZE),
      three: THREE.REVISION,
    };
  },

  // Take a piece of a file.
  put(name, text) {
    if (!files.has(name)) files.set(name, []);
    files.get(name).push(bytesOf(text));
  },

  // Read a model, and set up light and camera; tell what was found.
  async open(name, options) {
    const gltf = await load(name);
    files = new Map();
    const scene = new THREE.Scene();
    shown = { scene, options };
    scene.add(gltf.scene);
    const sphere = sphereOf(gltf.scene);
    if (sphere === null) throw new Error('it has nothing that can be drawn');
    const drawer = rendererOf(options.antialias);
    drawer.toneMappingExposure = options.exposure;
    drawer.setSize(options.width, options.height, false);
    const gl = drawer.getContext();
    if (gl.drawingBufferWidth !== options.width || gl.drawingBufferHeight !== options.height) {
      throw new Error(`a picture of ${options.width} × ${options.height} pixels is more than can be drawn here`);
    }
    if (options.background === 'transparent') drawer.setClearColor(0x000000, 0);
    else drawer.setClearColor(new THREE.Color(options.background), 1);
    const camera = new THREE.PerspectiveCamera(options.fov, options.width / options.height);
    scene.add(camera);
    if (options.light === 'room') {
      scene.environment = environment();
    } else if (options.light === 'direct') {
      const { key, sky } = lamps();
      camera.add(key);
      scene.add(sky);
    }
    Object.assign(shown, { camera, sphere, place: placed(options, sphere) });
    return {
      bounds: [sphere.box.min.toArray(), sphere.box.max.toArray()],
      camera: shown.place.position.toArray(),
      target: shown.place.target.toArray(),
    };
  },

  // Draw one frame of so many, and return it as a file.
  async draw(frame, count) {
    const { scene, camera, options } = shown;
    aim(camera, frame, shown.place, shown.sphere, count);
    renderer.render(scene, camera);
    const blob = await new Promise((resolve) => { // at once: what was drawn is gone when this returns
      renderer.domElement.toBlob(resolve, options.type, options.quality / 100);
    });
    if (isLost || renderer.getContext().isContextLost()) throw new Error('the graphics device gave up (its context was lost)');
    if (blob === null || blob.type !== options.type) throw new Error(`no ${options.type} can be written here`);
    return { content: await base64(blob), triangles: renderer.info.render.triangles, calls: renderer.info.render.calls };
  },

  // Free everything of a model.
  close() {
    files = new Map();
    if (shown !== null) freeScene(shown.scene);
    shown = null;
    renderer?.setSize(1, 1, false);
    renderer?.renderLists.dispose();
    return { geometries: renderer?.info.memory.geometries, textures: renderer?.info.memory.textures };
  },
};
