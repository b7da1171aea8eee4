"""One level of Catmull-Clark as a matrix: control vertices [n, 3] -> smooth vertices [m, 3].

Subdivision is linear in the vertices, so its matrix is made once per mesh and every frame costs one sparse
product. Border edges follow the cubic B-spline rule. Triangles are quads whose last two corners agree.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def catmull_clark(
    faces: NDArray[np.int64], face_uv: NDArray[np.float32], n_vertices: int
) -> tuple[sp.csr_matrix, NDArray[np.int64], NDArray[np.float32]]:
    """Subdivide quads once.

    Args:
        faces: [M, 4] vertex indices; face_uv: [M, 4, 2] texture corners; n_vertices: control vertices.

    Returns:
        matrix [m, n_vertices], faces [M', 4], face_uv [M', 4, 2]. The first n_vertices rows are the moved
        control vertices, so an index into the control mesh is also one into the smooth mesh.
    """
    n_faces = len(faces)
    size = np.where(faces[:, 2] == faces[:, 3], 3, 4)
    real = np.arange(4)[None] < size[:, None]
    face_of_corner = np.repeat(np.arange(n_faces), size)
    corner = faces[real]
    following = np.roll(faces, -1, axis=1)
    following[size == 3, 2] = faces[size == 3, 0]
    edges = np.sort(np.stack([corner, following[real]], axis=1), axis=1)
    edge, edge_of_corner = np.unique(edges, axis=0, return_inverse=True)
    edge_of_corner = edge_of_corner.ravel()
    n_edges = len(edge)

    face_mean = _matrix(face_of_corner, corner, 1.0 / np.repeat(size, size), (n_faces, n_vertices))
    edge_ends = np.repeat(np.arange(n_edges), 2)
    edge_mean = _matrix(edge_ends, edge.ravel(), np.full(2 * n_edges, 0.5), (n_edges, n_vertices))
    edge_faces = _matrix(edge_of_corner, face_of_corner, np.ones(len(corner)), (n_edges, n_faces))
    degree = np.asarray(edge_faces.sum(1)).ravel()
    border = degree == 1
    inside = sp.diags(np.where(border, 0.0, 0.5))
    edge_point = sp.diags(np.where(border, 1.0, 0.5)) @ edge_mean
    edge_point = edge_point + inside @ (sp.diags(1.0 / degree) @ edge_faces @ face_mean)

    vertex_edges = _matrix(edge.ravel(), edge_ends, np.ones(2 * n_edges), (n_vertices, n_edges))
    vertex_faces = _matrix(corner, face_of_corner, np.ones(len(corner)), (n_vertices, n_faces))
    valence = np.maximum(np.asarray(vertex_edges.sum(1)).ravel(), 1)
    n_around = np.maximum(np.asarray(vertex_faces.sum(1)).ravel(), 1)
    smooth = sp.diags(1 / n_around / valence) @ vertex_faces @ face_mean
    smooth = smooth + sp.diags(2 / valence**2) @ vertex_edges @ edge_mean + sp.diags((valence - 3) / valence)
    border_edges = vertex_edges @ sp.diags(border.astype(float))
    n_border = np.asarray(border_edges.sum(1)).ravel()
    crease = sp.diags(0.5 / np.maximum(n_border, 1)) @ border_edges @ edge_mean
    crease = crease + sp.diags(np.full(n_vertices, 0.5))
    on_border = (n_border > 0).astype(float)
    used = np.zeros(n_vertices)
    used[np.unique(corner)] = 1.0
    # A vertex no face uses (a landmark helper, say) stays where it is.
    vertex_point = sp.diags(used * (1 - on_border)) @ smooth + sp.diags(used * on_border) @ crease
    vertex_point = vertex_point + sp.diags(1 - used)
    matrix = sp.vstack([vertex_point, edge_point, face_mean]).tocsr().astype(np.float32)

    # One new quad per corner: corner, middle of its edge, middle of the face, middle of the edge before.
    edge_table = np.zeros(faces.shape, np.int64)
    edge_table[real] = edge_of_corner
    last = size[face_of_corner] - 1
    slot = np.broadcast_to(np.arange(4), faces.shape)[real]
    before = np.where(slot == 0, last, slot - 1)
    after = np.where(slot == last, 0, slot + 1)
    new_faces = np.stack(
        [
            corner,
            n_vertices + edge_of_corner,
            n_vertices + n_edges + face_of_corner,
            n_vertices + edge_table[face_of_corner, before],
        ],
        axis=1,
    )
    here = face_uv[face_of_corner, slot]
    centre = np.where(real[..., None], face_uv, 0).sum(1) / size[:, None]
    new_uv = np.stack(
        [
            here,
            (here + face_uv[face_of_corner, after]) / 2,
            centre[face_of_corner],
            (here + face_uv[face_of_corner, before]) / 2,
        ],
        axis=1,
    )
    return matrix, new_faces, new_uv.astype(np.float32)


def _matrix(
    rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64], shape: tuple[int, int]
) -> sp.csr_matrix:
    return sp.csr_matrix((values, (rows, columns)), shape=shape)
