"""Who answers: fallback, hedging and timeouts over the candidates of a turn."""
