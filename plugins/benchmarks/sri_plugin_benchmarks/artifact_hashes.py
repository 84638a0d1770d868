"""The sha256 of JailbreakBench's artifacts at commit 909e68c01d94222b8ad2e397a017e2e12e2adb73."""

from __future__ import annotations

SHA256 = {
    "PAIR": {
        "gpt-3.5-turbo-1106": "49e007ce488e606cede7ffc8b022e35080b7f3870956e4cb2423d9b42749c78f",
        "gpt-4-0125-preview": "6dd214eee78184daf048ac8af166641724b49fd25bc831e5d7201469c162004d",
        "llama-2-7b-chat-hf": "02819296c5d992568d732d37813b2ce34624068a20f21025c04c04d52820b029",
        "vicuna-13b-v1.5": "18b101386419a98fbdf45cb987069f83af3a40d5e0f7f0d32c4e9dc5ecc049b4",
    },
    "GCG": {
        "gpt-3.5-turbo-1106": "ff185b1dc73732d830e96efdb3f4a92294ee72e9c88a1800b1d11d4ecb3d4cdf",
        "gpt-4-0125-preview": "af54543a06e3702256315517ee6e6a7b0edf182dd2c6d938216fa58cbea8de23",
        "llama-2-7b-chat-hf": "f76cbaf899c79ca8eed6a6ed26d6f8789933c5595a9a5ee028e305dec4dd95f7",
        "vicuna-13b-v1.5": "9eff8b6f78cae002737868ca8cdd886be5afcd1cbbbe4cf51ff837bc688b01b1",
    },
    "JBC": {
        "gpt-3.5-turbo-1106": "5999b8f2fc5e85fd4f7d6553abaeaa66f2dc10c5354faa41622e511c08eab871",
        "gpt-4-0125-preview": "1785f7cf838522461b5b9af3fa606715ecf55c194581f4c8c5c9f1945b59db05",
        "llama-2-7b-chat-hf": "1607a5a5b9f50abc7f2ff9e07b7257dfde7228b88cfdf73c20f5f56108ffdd23",
        "vicuna-13b-v1.5": "1d5df5aa451c3d1bb8a4c048a7b2e1e6132e72f2970cb9d94ffc77f44e0edb39",
    },
    "prompt_with_random_search": {
        "gpt-3.5-turbo-1106": "d4a0691eda37b02dc948b6d6d08460f7d5cd3f15099121b388a58634ffb7bd76",
        "gpt-4-0125-preview": "4a0573dba6823c676cab99ed54b8191244080883948270fac9b75255b7c69206",
        "llama-2-7b-chat-hf": "45df98af6e1c0e35747f6b9c80cdc606e96c76a511e09a1a49ad5b00cfb51c0a",
        "vicuna-13b-v1.5": "9d87a56659f617438feb5770bb2c8e4c2dbbd1bd62964f2c1a8775988017ac5d",
    },
    "DSN": {
        "llama-2-7b-chat-hf": "9bcdbe88b18e729ca9abf593d3e5141e7958aff0eb3a0e62ae92b8f64acbdcd9",
        "vicuna-13b-v1.5": "ea0a5f7331baf595fb6e6925423f43367cbce8da9273ce93c6a03e2201e3373d",
    },
}
"""Method -> model -> sha256 of its file."""
