"""The exported graphs against the networks they come from, run in torch."""

from __future__ import annotations

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from transformers import AutoModel, AutoTokenizer

from embed.backends.builtin.image import Clothes, prepare
from embed.backends.builtin.space import Builtin
from embed.types import Media, Modality, Pixels
from embed.weights import store

TEXTS = ["a photo of a cat", "Zürich in winter, seen from above", "word " * 200, "x"]


def test_pictures_equal_the_network(builtin: Builtin, photos: dict[str, Pixels]) -> None:
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(store.find("efficientnet-lite0"), weights_only=True))
    prototypes = np.load(store.find("imagenet-prototypes")).astype(np.float64)
    clothes = Clothes(store.find("clothes-head"))
    for name, picture in photos.items():
        pixels = torch.from_numpy(prepare(picture).copy())
        inputs = ((pixels.permute(2, 0, 1)[None] / 255) - 0.498) / 0.502
        with torch.no_grad():
            features = network.extract_features(inputs).mean((2, 3))[0].double().numpy()
            posterior = torch.softmax(network(inputs), -1)[0].double().numpy()
        session = builtin.encoder(Modality.IMAGE)._session
        found = session.run(["features", "posterior"], {"pixels": prepare(picture)[None]})
        np.testing.assert_allclose(found[0][0], features, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(found[1][0], posterior, atol=1e-4, err_msg=name)
        vectors = builtin.embed([Media(Modality.IMAGE, picture)])
        assert vectors.native is not None
        joint = posterior @ prototypes + clothes(features, posterior)
        assert vectors.joint[0] @ joint / np.linalg.norm(joint) > 1 - 1e-6
        assert vectors.native[0] @ features / np.linalg.norm(features) > 1 - 1e-6


def test_texts_equal_the_sentence_model(builtin: Builtin) -> None:
    folder = store.find("minilm-l6-v2").parent
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None].float()
    mean = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(mean, dim=-1).numpy()
    found = builtin.embed([Media(Modality.TEXT, text) for text in TEXTS]).joint
    np.testing.assert_allclose(found, expected, atol=1e-5)
