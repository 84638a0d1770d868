"""LangChain's agents with the real package: `create_agent`, `ChatOpenAI`, and the middleware around the lab's model."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from sri_plugin_gateways.gate import WITHHELD
from sri_plugin_gateways.langchain_agent import VerdictAgentMiddleware

from benchmarks.gateways.trial import Trial, report


def main() -> None:
    """Asks every prompt, waiting and on an event loop, then one without a tap's verdict."""
    trial = Trial.read()
    model = ChatOpenAI(model="lab", base_url=trial.backend, api_key="none", max_retries=0)
    agent = create_agent(model, [], middleware=[VerdictAgentMiddleware(trial.gate)])

    def asked(prompt: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": prompt}]}

    def released(prompt: str) -> bool:
        return bool(agent.invoke(asked(prompt))["messages"][-1].content != WITHHELD)

    def released_async(prompt: str) -> bool:
        return bool(loop.run(agent.ainvoke(asked(prompt)))["messages"][-1].content != WITHHELD)

    # One loop for all calls: the model's client keeps its connections between them.
    loop = asyncio.Runner()
    # The id does not reach the model, so its verdict lies under another one.
    lost = create_agent(model, [], middleware=[VerdictAgentMiddleware(trial.gate, carry=lambda settings, _: settings)])
    report(
        ("langchain", "langchain-openai"),
        invoke=trial.counted(released),
        ainvoke=trial.counted(released_async),
        unknown_released=lost.invoke(asked(trial.clear_prompt))["messages"][-1].content != WITHHELD,
    )


if __name__ == "__main__":
    main()
