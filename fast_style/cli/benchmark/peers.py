"""What the benchmark measures against: fast style transfer as it is commonly written, after Johnson et al. 2016.

Eager, float32 and NCHW, without optimization. Where the paper and later programs differ, the faster way is taken: no
tanh at the end, no total variation, no loss that is read back, and images that are in memory already.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Where relu1_2, relu2_2, relu3_3 and relu4_3 stand in `LossNetwork.features`.
JUDGED = (3, 8, 15, 22)


def johnson() -> nn.Sequential:
    """Return the network of Johnson, Alahi & Fei-Fei 2016, supplementary material, table 1, as peers build it.

    https://arxiv.org/abs/1603.08155, with affine instance normalization, reflection padding and nearest upsampling.
    Images are in 0 to 255.
    """
    return nn.Sequential(
        *(*_convolution(3, 32, 9), nn.ReLU()),
        *(*_convolution(32, 64, 3, stride=2), nn.ReLU()),
        *(*_convolution(64, 128, 3, stride=2), nn.ReLU()),
        *(_Residual(128) for _ in range(5)),
        *(nn.Upsample(scale_factor=2, mode="nearest"), *_convolution(128, 64, 3), nn.ReLU()),
        *(nn.Upsample(scale_factor=2, mode="nearest"), *_convolution(64, 32, 3), nn.ReLU()),
        *_convolution(32, 3, 9)[:2],
    )


class LossNetwork(nn.Module):
    """VGG16 up to relu4_3 under torchvision's names. The weights are random: its speed does not depend on them."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for channels in (64, 64, 128, 128, 256, 256, 256, 512, 512, 512):
            layers += [nn.MaxPool2d(2)] if channels > inputs > 3 else []
            conv = nn.Conv2d(inputs, channels, kernel_size=3, padding=1)
            # Keeps the scale of the activations: denormal numbers are slow.
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.ReLU(inplace=True)]
            inputs = channels
        self.features = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the `JUDGED` features of images of shape (batch, 3, height, width) in 0 to 255."""
        mean, std = images.new_tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, None, :, None, None]
        x = (images / 255 - mean) / std
        features = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in JUDGED:
                features.append(x)
        return features


class Training:
    """A training on one batch of noise, all images of one size, step by step, at the constant rate of the paper."""

    def __init__(self, batch: int, size: int, device: str) -> None:
        torch.manual_seed(0)
        self.network = johnson().to(device)
        self.judge = LossNetwork().to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.content = 255 * torch.rand(batch, 3, size, size, device=device)
        with torch.no_grad():
            features = self.judge(255 * torch.rand(1, 3, size, size, device=device))
        self.grams = [_gram(feature).expand(batch, -1, -1) for feature in features]

    def step(self) -> None:
        """Take one step: content and output through the loss network, with the gradient on."""
        self.optimizer.zero_grad()
        output = self.network(self.content)
        features, of_content = self.judge(output), self.judge(self.content)
        loss = F.mse_loss(features[2], of_content[2])
        for feature, gram in zip(features, self.grams, strict=True):
            loss = loss + F.mse_loss(_gram(feature), gram)
        torch.autograd.backward(loss)
        self.optimizer.step()


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(channels, channels, 3), nn.ReLU(), *_convolution(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.body(x)
        return x + correction


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Return the padding, the convolution and its normalization."""
    padding, conv = nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)
    return [padding, conv, nn.InstanceNorm2d(outputs, affine=True)]


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])
