"""Langevin dynamics in PyTorch: plain SGD, and noise behind each of its steps."""

import numpy as np
import torch

BETA, KAPPA, STEP, THIN = 10.0, 10.0, 0.005, 10
CHAINS, DRAWS, BURN_IN = 256, 3000, 50


def potential(u, v):
    """L + κχ²/2 of uv, with χ = (u² − v²)/2."""
    return 0.5 * (u * v - 1) ** 2 + 0.5 * KAPPA * (0.5 * (u**2 - v**2)) ** 2


def main(out="torch.npz", beta=BETA, draws=DRAWS):
    """Write draws of exp(−β(L + κχ²/2)), by the scheme of Leimkuhler and Matthews."""
    torch.manual_seed(0)
    theta = (1 + 0.3 * torch.randn(CHAINS, 2)).requires_grad_()
    optimiser = torch.optim.SGD([theta], lr=STEP)
    old, kept = torch.randn_like(theta), []
    for _ in range(BURN_IN + draws):
        for _ in range(THIN):
            optimiser.zero_grad()
            potential(theta[:, 0], theta[:, 1]).sum().backward()
            optimiser.step()
            new = torch.randn_like(old)
            with torch.no_grad():
                theta += (2 * STEP / beta) ** 0.5 * 0.5 * (old + new)
            old = new
        kept.append(theta.detach().clone())
    np.savez(out, theta=torch.stack(kept[BURN_IN:], dim=1).numpy())  # (chain, draw, 2)


if __name__ == "__main__":
    main()
