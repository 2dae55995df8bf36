"""Chat templates: the text before a user's first words, and before the next ones, for any model.

A chat template is a program (Jinja) that turns messages into the text a model reads. Magpie needs two cuts of that
text: up to where the first user message would stand (the pre-query), and up to where the next one would. Both are
derived by rendering a user message that is a sentinel and cutting there, so they follow the model's own template.

    template = await chat_template("auto", model)        # from the model or its server
    template = from_family("llama-3")                    # from the table in families.yaml
    template = from_tokenizer_folder("checkpoints/my")   # tokenizer_config.json or chat_template.jinja
    template.pre_query, template.stop, template.next_turn(messages)
"""

from pica.synth.templates.families import FAMILIES, Family, recognise
from pica.synth.templates.segments import Segments
from pica.synth.templates.sources import (
    chat_template,
    from_family,
    from_file,
    from_hub,
    from_jinja,
    from_model,
    from_tokenizer_folder,
)
from pica.synth.templates.template import ChatTemplate

__all__ = ["FAMILIES", "ChatTemplate", "Family", "Segments", "chat_template", "from_family", "from_file", "from_hub",
           "from_jinja", "from_model", "from_tokenizer_folder", "recognise"]
