"""The module dnn of OpenCV."""

from common import installed, main

installed()

import cv2  # noqa: E402


def bind(path, x):
    network = cv2.dnn.readNetFromONNX(path)
    network.setInput(x)
    return [lambda x: network.forward()]


main(bind)
